"""All that the plugin and the agent do with Redis works on one server, Sentinel and Cluster, with TLS and ACL users.

Servers, certificates, users and failovers are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
import redis
import yaml
from redis.exceptions import NoPermissionError
from typer.testing import CliRunner

from slo_bench.errors import StoppedError
from slo_bench.guard.held import Own, Pause
from slo_bench.guard.lock import EndpointLock
from slo_bench.guard.watch import Watch
from slo_bench.load.plan import Cell
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.run.estimate import Request
from slo_bench.run.memory import Done, Memory
from slo_bench.run.publish import publish
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize
from slo_router.contract.keys import LIVE_KEY, SCRAPER_KEY, WORKERS_KEY, request_index_key
from slo_router.contract.model import Facts
from slo_router.contract.record import RequestRecord
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.live.probes import Health
from slo_router.operator.cli import app
from slo_router.worker.background import Background, Hooks
from slo_router.worker.records import build_record
from slo_router.worker.request_log import RequestLog
from slo_router.worker.rollout import Rollout
from slo_router.worker.scraper import LoadSignals
from slo_router.worker.sharing import Sharing
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.aside import Names
from slo_router.worker.trace import Trace
from tests.e2e.redis_topologies import Topology, admin, topology, until
from tests.shared.background_worker import at_once
from tests.shared.needed import needed

STREAM = "slo_router:requests"
DEPLOYMENTS = [f"deployment-{number}" for number in range(12)]  # enough for every node of the cluster


@pytest.fixture(scope="module", params=["single", "sentinel", "cluster"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with needed(), topology(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
async def router(place: Topology) -> AsyncIterator[AsyncClient]:
    async with connect(place.router_url) as link:
        yield link


@pytest.fixture
async def agent(place: Topology) -> AsyncIterator[AsyncClient]:
    async with connect(place.agent_url) as link:
        yield link


def measured(name: str, *samples: Sample) -> CellResult:
    cell = Cell(Facts(name, f"openai/{name}"), Target(name, name, "http://gpu/v1"), "ner", ())
    return CellResult(cell, summarize(samples, wall_s=1.0), time.time())


async def test_the_router_reads_what_the_agent_publishes(
    place: Topology, router: AsyncClient, agent: AsyncClient
) -> None:
    for number, name in enumerate(DEPLOYMENTS):
        await publish(agent, "", measured(name, Sample(0.1 * (number + 1), 9.0, 100, 5)))
    await publish(agent, "", measured(DEPLOYMENTS[0], Sample(error="timeout")))  # the last good latency is kept

    store = MetricsStore("")
    await store.refresh(router, DEPLOYMENTS, ("ner", "chat"))

    found = store.snapshot.measured
    assert [found[name]["ner"].ttft_s for name in DEPLOYMENTS] == pytest.approx([0.1 * (n + 1) for n in range(12)])
    assert found[DEPLOYMENTS[0]]["ner"].error_rate == 1.0
    assert {category for of_one in found.values() for category in of_one} == {"ner"}
    assert all(link.keys("metrics:*") for link in place.admins())  # on a cluster every node has some keys


@pytest.mark.parametrize("command", [["check"], ["report", "--json", "--config"]], ids=["check", "report"])
async def test_a_command_reads_it_with_the_rights_of_the_router(
    place: Topology, router: AsyncClient, agent: AsyncClient, tmp_path: Path, command: list[str]
) -> None:
    await publish(agent, "", measured("small", Sample(0.25, 9.0, 100, 5)))
    log = RequestLog(LogSettings(), "")
    log.offer(_answered_by("small"))
    await log.flush(router)
    params, info = {"model": "openai/small", "api_base": "http://gpu/v1"}, {"id": "small"}
    section = {"redis_url": place.router_url, "groups": {"smart": {}}}
    document = {
        "model_list": [{"model_name": "smart", "litellm_params": params, "model_info": info}],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": section},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))

    arguments = [*command, str(tmp_path / "config.yaml")]
    async with asyncio.timeout(100):
        while True:
            result = await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}))
            if "TimeoutError" not in result.output:  # on a busy machine Redis answers late
                break
    await router.delete(STREAM)

    assert result.exit_code == 0, result.output
    assert "ner (" in result.output if command == ["check"] else '"requests": 1,' in result.output


def _answered_by(deployment: str) -> RequestRecord:
    payload = {
        "id": "one",
        "model_group": "smart",
        "model_id": deployment,
        "endTime": time.time(),
        "prompt_tokens": 10,
        "completion_tokens": 10,
        "response_cost": 0.001,
    }
    return build_record(payload, Trace("acompletion", time.time()))


async def test_workers_see_each_other_and_forget_one_that_is_gone(router: AsyncClient, place: Topology) -> None:
    async with connect(place.router_url) as other:
        one, two = Sharing("", 0.2), Sharing("", 0.2)
        await one.exchange(router, b'{"who":"one"}')
        await two.exchange(other, b'{"who":"two"}')
        await one.exchange(router, b'{"who":"one"}')  # learns the other worker's name
        assert await one.exchange(router, b'{"who":"one"}') == [{"who": msgspec.Raw(b'"two"')}]

        await other.delete(LIVE_KEY + two.worker)  # as when its key expires
        assert await one.exchange(router, b'{"who":"one"}') == []
        assert await router.smembers(WORKERS_KEY) == {one.worker}
        await router.delete(LIVE_KEY + one.worker)
        await router.delete(WORKERS_KEY)


async def test_records_are_written_once_and_in_order(router: AsyncClient) -> None:
    log = RequestLog(LogSettings(), "")
    for number in range(600):  # more than one batch
        log.offer(build_record({"id": f"r{number}"}, Trace("acompletion", 0.0)))
    try:
        assert await log.flush(router) == 600
        entries = cast("list[tuple[str, dict[str, str]]]", await router.xrange(STREAM))
        assert await router.zscore(request_index_key(STREAM), "r599") is not None  # the rights suffice
    finally:
        await router.delete(STREAM)
        await router.delete(request_index_key(STREAM))
    assert [json.loads(fields["record"])["request_id"] for _, fields in entries] == [f"r{n}" for n in range(600)]


async def test_one_worker_asks_the_model_servers_for_all(router: AsyncClient) -> None:
    facts = [Facts("small", "openai/small", metrics_url="http://127.0.0.1:1/metrics")]
    first, second = LoadSignals("", "first", Names()), LoadSignals("", "second", Names())
    for signals in (first, second, first):
        await signals.stand(router, facts, every_s=1.0)
    assert await router.get(SCRAPER_KEY) == "first"
    await router.delete(SCRAPER_KEY)


async def test_the_agent_locks_remembers_and_sees_the_load(router: AsyncClient, agent: AsyncClient) -> None:
    await router.sadd(WORKERS_KEY, "w1")
    await router.set(LIVE_KEY + "w1", json.dumps({"small": {"in_flight": 37}}))
    told: list[str] = []
    watch, pause = Watch(agent, "", told.append), Pause(8, 60.0)
    await watch.add(Facts("small", "openai/small"), pause, lambda: Own(0, 0.0))
    assert (pause.live, told) == (37.0, ["small: paused: 37 live requests"])

    lock = EndpointLock(agent, "", "e1", renewed_every_s=0.02)
    async with lock.held(wait=False, on_wait=lambda: None, on_lost=lambda: told.append("lost")):
        with pytest.raises(StoppedError):
            await (
                EndpointLock(agent, "", "e1").held(wait=False, on_wait=lambda: None, on_lost=lambda: None).__aenter__()
            )
        await agent.pexpire("slo_bench:lock:e1", 15_000)
        async with asyncio.timeout(60):
            while await agent.pttl("slo_bench:lock:e1") <= 15_000:  # noqa: ASYNC110  # until it is renewed
                await asyncio.sleep(0.01)
    assert await agent.exists("slo_bench:lock:e1") == 0
    assert "lost" not in told

    memory = Memory(agent, "")
    await memory.note_pace(("small", "ner"), Request(1.0, 2.0, 3.0, "earlier run"))
    await memory.note_done("f", ("small", "ner"), Done(1.0, 10))
    assert (len(await memory.paces()), len(await memory.done("f"))) == (1, 1)
    await memory.forget("f")
    await router.delete(WORKERS_KEY)


async def test_each_user_may_do_its_own_part_only(router: AsyncClient, agent: AsyncClient) -> None:
    with pytest.raises(NoPermissionError):
        await router.hset("metrics:small:ner", "ttft_ms", "1")  # a hacked proxy cannot steer other proxies
    with pytest.raises(NoPermissionError):
        await agent.xrange(STREAM)  # the agent cannot read requests
    with pytest.raises(NoPermissionError):
        await agent.flushall()


LEAVES_OPEN = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",  # redis-py drops connections to a node that is dead or refuses
    "ignore:unclosed:ResourceWarning",  # them without closing them
)


@LEAVES_OPEN
async def test_nobody_gets_in_without_the_certificate(place: Topology) -> None:
    with pytest.raises(LINK_ERRORS):
        async with connect(place.router_url.partition("?")[0] + "?ssl_cert_reqs=none") as link:
            await link.get("slo_router:workers")
    gc.collect()  # here, where the warning is expected


@LEAVES_OPEN
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_a_worker_follows_a_failover_and_loses_no_record(kind: str, tmp_path: Path) -> None:
    with needed(), topology(kind, tmp_path) as servers:
        await _fail_over(servers)
    gc.collect()  # here, where the warning is expected


async def _health(_: str) -> Health:
    return "unclear"


async def _fail_over(servers: Topology) -> None:
    """The first master dies for good while the worker's own task runs, and its replica takes over."""
    async with connect(servers.agent_url) as agent:
        for name in DEPLOYMENTS:
            await publish(agent, "", measured(name, Sample(0.1, 9.0, 100, 5)))
    settings = PluginSettings(groups={"smart": GroupSettings()}, redis_url=servers.router_url, refresh_interval_s=0.1)
    strategy, log = Strategy(settings, MetricsStore("")), RequestLog(settings.log, "")
    strategy.know([ManagedDeployment("smart", Facts(name, "openai/m")) for name in DEPLOYMENTS])
    hooks = Hooks(at_once(lambda: True), at_once(lambda: None), lambda: None, _health)
    background = Background(settings, strategy, log, Rollout(settings), hooks)
    background.ensure_running()
    await asyncio.to_thread(until, lambda: len(strategy.store.snapshot.measured) == 12)
    log.offer(build_record({"id": "before"}, Trace("acompletion", 0.0)))
    await asyncio.to_thread(until, lambda: _records(servers) == ["before"])
    await asyncio.to_thread(until, lambda: _replicated(servers))

    known = strategy.store.snapshot.measured
    servers.servers[0].kill()
    servers.take_over()
    read_at_s = strategy.store.snapshot.read_at_s
    log.offer(build_record({"id": "during"}, Trace("acompletion", 0.0)))
    await asyncio.to_thread(until, lambda: _records(servers) == ["before", "during"])

    await asyncio.to_thread(until, lambda: (strategy.store.snapshot.read_at_s or 0) > (read_at_s or 0))
    assert strategy.store.snapshot.measured == known, "what the dead node held was forgotten"
    assert strategy.store.dropped_values == 0
    assert log.dropped == 0
    await background.aclose()


def _records(servers: Topology) -> list[str]:
    """The request ids in the stream, from the master that holds it; none while there is no such master."""
    for link in servers.admins():
        if link.info("replication")["role"] == "master" and link.keys(STREAM):
            with contextlib.suppress(redis.ResponseError):  # the cluster is not complete yet
                entries = cast("list[tuple[str, dict[str, str]]]", link.xrange(STREAM))
                return [json.loads(fields["record"])["request_id"] for _, fields in entries]
    return []


def _replicated(servers: Topology) -> bool:
    with admin(servers.servers[0]) as link:
        state = link.info("replication")
        return bool(state["slave0"]["offset"] == state["master_repl_offset"])
