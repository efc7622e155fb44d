"""The guard of a run: what it lets through, when it stops, and what its clock counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from time import perf_counter

import httpx
import pytest
from rich.console import Console

from evaluation.emulator import Handle
from slo_bench.errors import StoppedError
from slo_bench.guard import watch
from slo_bench.guard.budget import Budget
from slo_bench.guard.guard import Guard, Terms
from slo_bench.guard.lock import LOST, EndpointLock
from slo_bench.guard.watch import Watch
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt
from slo_bench.run.progress import State, line, shown
from slo_router.contract.keys import LOCK_KEY
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient, connect

FACTS = Facts("a", "openai/a", input_usd_per_token=1e-6, output_usd_per_token=1e-6)
TARGET = Target("a", "a", "http://gpu/v1")
PROMPT = Prompt("ner", ({"role": "user", "content": "Hi"},), 8)


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


async def answer(_: Target, __: Prompt) -> Sample:
    return Sample(0.1, 0.2, 10, 5)


async def for_ever(guard: Guard) -> None:
    while True:
        await guard.measure(TARGET, PROMPT)
        await asyncio.sleep(0.01)


def quiet(_: str) -> None:
    """A callback that does nothing."""


@asynccontextmanager
async def guarded(
    terms: Terms,
    locks: Mapping[str, EndpointLock] | None = None,
    budget_usd: float | None = None,
    tell: Callable[[str], None] = quiet,
) -> AsyncIterator[Guard]:
    watched = Watch(None, "", tell, interval_s=0.02)
    watching = asyncio.create_task(watched.run())
    yield Guard(answer, Budget(budget_usd, 60.0), terms, locks or {}, watched)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_lost_lock_stops_the_measuring(link: AsyncClient) -> None:
    async with guarded(Terms(), {"a": EndpointLock(link, "", "e1", renewed_every_s=0.02)}) as guard:
        async with guard.deployment(FACTS, quiet):
            assert (await guard.measure(TARGET, PROMPT)).error is None
            await link.set(LOCK_KEY + "e1", "another")
            with pytest.raises(StoppedError, match=LOST):
                await asyncio.wait_for(for_ever(guard), 60)
        assert (guard.lost, guard.stopped) == ({"a"}, {"a": LOST})
        with pytest.raises(StoppedError):
            await guard.deployment(FACTS, quiet).__aenter__()


async def test_the_time_is_up_for_one_that_is_not_held_yet(link: AsyncClient) -> None:
    await link.ping()  # connects, so that the lock answers before the time is up
    async with guarded(Terms(), {"a": EndpointLock(link, "", "e1")}) as guard:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(-1), guard.deployment(FACTS, quiet):
                pytest.fail("it was held")
    assert await link.get(LOCK_KEY + "e1") is None


async def test_a_spent_budget_stops_every_deployment() -> None:
    async with guarded(Terms(), budget_usd=0.00006) as guard:
        async with guard.deployment(FACTS, quiet):
            await guard.measure(TARGET, PROMPT)
            await guard.measure(TARGET, PROMPT)
            with pytest.raises(StoppedError, match="the budget is used up"):
                await guard.measure(TARGET, PROMPT)
        assert guard.budget.spent_usd == pytest.approx(30e-6)
        with pytest.raises(StoppedError, match="the budget is used up"):
            await guard.deployment(replace(FACTS, deployment_id="b"), quiet).__aenter__()


async def test_the_servers_own_load_pauses_the_run_and_the_clock(
    fleet: list[Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TIMEOUT_S", 60.0)
    facts = replace(FACTS, metrics_url=f"{fleet[0].url}/metrics")
    fleet[0].control("slow", factor=100_000, times=1)  # ends when its client leaves
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "stream": True}
    paused = asyncio.Event()
    async with httpx.AsyncClient() as user, guarded(Terms(pause_above=0), tell=lambda _: paused.set()) as guard:
        live = asyncio.create_task(user.post(f"{fleet[0].api_base}/chat/completions", json=body))
        async with guard.deployment(facts, quiet):
            await asyncio.wait_for(paused.wait(), 60)
            began_s, counted_s = perf_counter(), guard.clock("a")
            measuring = asyncio.create_task(guard.measure(TARGET, PROMPT))
            await asyncio.sleep(0.1)
            assert not measuring.done()
            live.cancel()
            await asyncio.wait_for(measuring, 60)
            counted_s = guard.clock("a") - counted_s
            assert perf_counter() - began_s - counted_s >= 0.1


async def test_a_log_has_a_line_now_and_then() -> None:
    state = State("small · ner", 12, 300, 840.0, 0.1234)
    assert line(state, 61.0) == "12 of 300 requests, 61 s gone, about 14 min left, 0.1234 USD spent: small · ner"
    output = StringIO()
    async with shown(Console(file=output, width=200), lambda: state, line_s=0.01):
        await asyncio.sleep(0.05)
    assert output.getvalue().splitlines()[0].endswith("0.1234 USD spent: small · ner")
