"""What the agent remembers between runs, and what names a plan."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slo_bench.load.plan import Plan, Selection, make_plan
from slo_bench.prompts.workload import Prompt, Workload
from slo_bench.run.estimate import Request
from slo_bench.run.memory import RESUMABLE_S, Done, Memory, fingerprint
from slo_router.contract.keys import PACE_KEY, UNFINISHED_KEY
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.contract.settings.deployments import ManagedDeployment

REQUEST = Request(1.5, 100.0, 50.0, "earlier run")


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


def plan(text: str = "Hi", base: str = "http://gpu/v1", **selection: object) -> Plan:
    workload = Workload((Prompt("ner", ({"role": "user", "content": text},), 8),))
    fleet = [ManagedDeployment("smart", Facts("a", "openai/a"), base)]
    return make_plan(fleet, workload, Selection(**selection), None)  # type: ignore[arg-type]


async def test_what_was_noted_is_read_again_and_nonsense_is_left_out(link: AsyncClient) -> None:
    memory = Memory(link, "team:")
    await memory.note_pace(("a:b", "ner"), REQUEST)
    await memory.note_done("f1", ("a:b", "ner"), Done(1_700_000_000.0, 10))
    for key in (PACE_KEY, UNFINISHED_KEY + "f1"):
        await link.hset(f"team:{key}", mapping={"not json": "1", '["a","b"]': '["x"]', '["a"]': "[1]"})
    assert await memory.paces() == {("a:b", "ner"): REQUEST}
    assert await memory.done("f1") == {("a:b", "ner"): Done(1_700_000_000.0, 10)}
    assert await memory.done("f2") == {}


async def test_an_interrupted_run_is_forgotten_at_its_end_or_after_hours(link: AsyncClient) -> None:
    memory = Memory(link, "")
    await memory.note_done("f1", ("a", "ner"), Done(1.0, 1))
    assert RESUMABLE_S - 5 < await link.ttl(UNFINISHED_KEY + "f1") <= RESUMABLE_S
    await memory.forget("f1")
    assert await memory.done("f1") == {}


def test_a_plan_has_another_name_as_soon_as_anything_that_is_measured_changes() -> None:
    how = {"concurrency": 4}
    names = {
        fingerprint(plan(), how),
        fingerprint(plan("Hello"), how),
        fingerprint(plan(base="http://other/v1"), how),
        fingerprint(plan(requests=11), how),
        fingerprint(plan(), {"concurrency": 5}),
    }
    assert len(names) == 5
    assert fingerprint(plan(), how) == fingerprint(plan(), how)
