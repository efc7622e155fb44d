"""The servers' own load figures: one worker asks over real HTTP, and only requests of other clients count."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.live.live import Live
from slo_router.worker.scraper import LoadSignals
from slo_router.worker.tasks.aside import Names
from slo_router.worker.tasks.jobs import ToldError

SLOW = EndpointSpec(name="slow", ttft_ms=120_000, tpot_ms=1, jitter=0, slots=2)
GAUGE = '# TYPE vllm:num_requests_{0} gauge\nvllm:num_requests_{0}{{engine="{1}",model_name="m"}} {2}\n'


@pytest.fixture(scope="module")
def slow() -> Iterator[Handle]:
    with running_endpoints([SLOW]) as (handle,):
        yield handle


@pytest.fixture
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncClient]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        async with connect(server.url) as link:
            yield link


@pytest.fixture
async def make() -> AsyncIterator[Callable[[str, str], LoadSignals]]:
    """Makes workers' scrapers, and closes them at the end."""
    made: list[LoadSignals] = []

    def new(prefix: str, worker: str) -> LoadSignals:
        made.append(LoadSignals(prefix, worker, Names()))
        return made[-1]

    yield new
    for signals in made:
        await signals.aclose()


async def test_other_clients_requests_count_and_our_own_do_not_count_twice(
    slow: Handle, make: Callable[[str, str], LoadSignals]
) -> None:
    live, facts = Live(), Facts("slow", "m", metrics_url=f"{slow.url}/metrics")
    signals = make("", "one")
    body = {"model": "slow", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    live.dispatched("slow", time.time())  # one of the three requests is the proxy's

    async def until(is_said: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_said():
                await signals.ask([facts], live)

    async with httpx.AsyncClient(timeout=None) as http, asyncio.TaskGroup() as group:  # noqa: S113  # they are cancelled
        asking = [group.create_task(http.post(f"{slow.api_base}/chat/completions", json=body)) for _ in range(3)]
        await until(lambda: live.in_flight("slow") == 3)
        assert live.state("slow").in_flight_by_proxy == 1
        for one in asking:
            one.cancel()
    await until(lambda: live.in_flight("slow") == 1 and live.states["slow"].cache_usage == 0)


async def test_one_worker_asks_for_all(
    client: AsyncClient, slow: Handle, make: Callable[[str, str], LoadSignals]
) -> None:
    facts = [Facts("slow", "m", metrics_url=f"{slow.url}/metrics")]
    elected, other = make("p:", "one"), make("p:", "two")
    theirs = Live()
    theirs.heard_of_foreign("slow", 7)
    for signals, live in ((elected, Live()), (other, theirs)):
        await signals.stand(client, facts, every_s=1.0)
        await signals.ask(facts, live)
    assert theirs.in_flight("slow") == 0  # this worker did not ask; what the elected worker publishes counts
    assert await client.get("p:slo_router:scraper") == "one"
    assert 0 < await client.ttl("p:slo_router:scraper") <= 5


async def test_a_server_that_cannot_be_asked_is_named_once_without_its_address(
    slow: Handle, make: Callable[[str, str], LoadSignals], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "slo_router")
    live, signals = Live(), make("", "one")
    facts = [
        Facts("gone", "m", metrics_url="http://127.0.0.1:9/metrics"),
        Facts("wrong", "m", metrics_url=f"{slow.url}/v1/models"),
        Facts("strange", "m", metrics_url="no address"),
        Facts("silent", "m"),
    ]
    for _ in range(2):
        with pytest.raises(ToldError):  # no server told its load
            await signals.ask(facts, live)
    assert sorted(record.getMessage().split(" of ")[1].split()[0] for record in caplog.records) == [
        "gone",
        "strange",
        "wrong",
    ]
    assert "127.0.0.1" not in caplog.text
    assert all(live.in_flight(name) == 0 for name in ("gone", "wrong", "strange"))
