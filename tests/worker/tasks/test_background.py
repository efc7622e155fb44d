"""A worker's background jobs: a stuck job delays no other, whatever it is stuck on, and one sees which job it is."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.live.probes import Health
from tests.shared.background_worker import LoadServer, Mode, Relay, Worker, until

OWN = ["router", "settling", "watching", "fitting"]
OF_REDIS = ["snapshot", "records", "sharing"]
BELL = "bell"  # also hangs with Redis, but a dripping Redis may let its answer of five bytes through
NOWHERE = "stuck.test"


@pytest.fixture
def swept() -> None:
    """Collects what earlier tests left open, which this test's collection would find."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "r.jsonl"


@pytest.fixture
async def relay(server: ValkeyServer) -> AsyncIterator[Relay]:
    async with Relay(server.port) as running:
        yield running


@pytest.fixture
async def load() -> AsyncIterator[LoadServer]:
    async with LoadServer() as running:
        yield running


@pytest.fixture
async def one_thread() -> AsyncIterator[None]:
    """The event loop's pool, which looks up host names, has only one thread."""
    with ThreadPoolExecutor(1) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        yield


@pytest.fixture
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that never answers for the name NOWHERE."""
    look_up, over = socket.getaddrinfo, threading.Event()

    def hang(host: object, *arguments: object, **named: object) -> object:
        if host == NOWHERE:
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "over")
        return look_up(host, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield
    over.set()


async def stays(worker: Worker, *jobs: str) -> None:
    """Checks that these jobs do not succeed while all others do."""
    before = [worker.succeeded_at_s(job) for job in jobs]
    others = [name for name in worker.background.standings if name not in (*jobs, BELL)]
    await worker.goes_on(others)
    assert [worker.succeeded_at_s(job) for job in jobs] == before


async def falls_still(worker: Worker, *jobs: str) -> None:
    """Returns once none of these jobs succeeds any more, because started rounds are over. The other jobs go on."""
    for _ in range(10):
        before = [worker.succeeded_at_s(job) for job in jobs]
        await worker.goes_on(OWN)
        if [worker.succeeded_at_s(job) for job in jobs] == before:
            return
    raise AssertionError(f"still at work: {jobs}")


@pytest.mark.parametrize("mode", ["silent", "drip"])
async def test_a_redis_that_hangs_delays_nobody_and_is_used_again(
    mode: Mode, relay: Relay, load: LoadServer, file: Path
) -> None:
    async with Worker(f"redis://{relay.address}", metrics_url=load.url, jsonl_path=file) as worker:
        await worker.goes_on([*OWN, *OF_REDIS, "load", "file"])
        relay.mode = mode
        await falls_still(worker, *OF_REDIS)
        await stays(worker, *OF_REDIS)
        relay.mode = "pass"
        await worker.goes_on([*OWN, *OF_REDIS, BELL, "load", "file"])


async def test_what_a_worker_sees_itself_goes_on_counting_while_redis_hangs(relay: Relay) -> None:
    relay.mode = "silent"
    async with Worker(f"redis://{relay.address}") as worker:
        await worker.goes_on(OWN)
        live, now_s = worker.strategy.live, time.time()
        end = {"prompt_tokens": 100, "output_tokens": 11, "ttft_s": 0.1, "e2e_s": 0.2}
        live.finished(live.dispatched("a", now_s), "success", now_s, **end)  # type: ignore[arg-type]
        await until(lambda: live.states["a"].curve is not None)


@pytest.mark.parametrize("mode", ["silent", "drip"])
async def test_a_metrics_url_that_hangs_delays_nobody(mode: Mode, relay: Relay, load: LoadServer, file: Path) -> None:
    load.mode = mode
    async with Worker(f"redis://{relay.address}", metrics_url=load.url, jsonl_path=file) as worker:
        await worker.goes_on([*OWN, *OF_REDIS, "file"])
        await stays(worker, "load")
        load.mode = "pass"
        await worker.goes_on(["load"])
        assert worker.strategy.live.states["a"].foreign == 3


async def test_a_health_check_that_hangs_delays_nobody_and_is_made_once(relay: Relay) -> None:
    asked: list[str] = []

    async def hang(name: str) -> Health:
        asked.append(name)
        await asyncio.sleep(3_600)
        return "answers"

    async with Worker(f"redis://{relay.address}", ask=hang) as worker:
        live = worker.strategy.live
        for name in ("a", "b", "b", "b"):
            live.finished(live.dispatched(name, time.time()), "error", time.time())
        await until(lambda: asked == ["b"])
        await stays(worker)
        assert asked == ["b"]


async def test_a_file_that_hangs_delays_nobody_and_what_finds_no_room_is_counted(relay: Relay, file: Path) -> None:
    pipe = file.with_name(f"r.{os.getpid()}.jsonl")
    os.mkfifo(pipe)  # a writer that opens the pipe waits for a reader
    async with Worker(f"redis://{relay.address}", jsonl_path=file) as worker:
        await worker.goes_on([*OWN, *OF_REDIS])
        await stays(worker, "file")
        for _ in range(worker.settings.log.queue_size):
            worker.settle()
        await worker.goes_on([*OWN, *OF_REDIS])
        assert worker.log.dropped > 0
        assert len(worker.log._queue) < worker.settings.log.queue_size  # Redis got all records
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # frees the waiting thread
    os.close(reader)


@pytest.mark.usefixtures("hanging_resolver", "one_thread")
async def test_a_resolver_that_hangs_for_a_metrics_url_delays_nobody_and_takes_nobodys_thread(relay: Relay) -> None:
    async with Worker(f"redis://{relay.address}", metrics_url=f"http://{NOWHERE}/metrics") as worker:
        await worker.goes_on([*OWN, *OF_REDIS])
        await stays(worker, "load")
        await asyncio.to_thread(time.time)
    assert threads_aside() == 1


@pytest.mark.usefixtures("hanging_resolver", "one_thread")
async def test_a_resolver_that_hangs_for_redis_delays_nobody_and_takes_nobodys_thread(load: LoadServer) -> None:
    async with Worker(f"redis://{NOWHERE}:6379", metrics_url=load.url) as worker:
        await worker.goes_on([*OWN, "load"])
        await stays(worker, *OF_REDIS)
        await asyncio.to_thread(time.time)
    assert threads_aside() == 1


def threads_aside() -> int:
    return sum(thread.name == "slo_router aside" for thread in threading.enumerate())


async def test_a_job_that_fails_is_counted_said_once_and_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    is_broken = False

    def tick() -> bool:
        if is_broken:
            raise LookupError("a bug")
        return True

    async with Worker(tick=tick) as worker:
        await worker.goes_on(OWN)
        is_broken = True
        await until(lambda: worker.background.standings["router"].failures > 2)
        await stays(worker, "router")
        is_broken = False
        await worker.goes_on(OWN)
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["the job router failed; it is tried again until it succeeds"]


@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize("freeze", [False, True])
async def test_the_heap_is_frozen_once_the_router_is_there_where_asked_for(*, freeze: bool) -> None:
    has_router, frozen = False, gc.get_freeze_count()
    async with Worker(tick=lambda: has_router, freeze_heap=freeze) as worker:
        await asyncio.sleep(0.1)
        assert gc.get_freeze_count() <= frozen  # frozen objects may go
        has_router = True
        await worker.goes_on(["router"])
        assert (gc.get_freeze_count() > frozen) == freeze


async def test_a_process_that_stood_still_is_noticed() -> None:
    async with Worker() as worker:
        await worker.goes_on(["router"])
        live = worker.strategy.live
        flight = live.dispatched("a", time.time())
        time.sleep(0.3)  # noqa: ASYNC251  # the event loop stands still
        await worker.goes_on(["router"])
        took_s = time.time() - flight.at_s
        live.first_token(flight, time.time(), prompt_tokens=1, ttft_s=took_s)
        assert live.states["a"].evidence.at_s is None


async def test_where_no_redis_is_configured_no_record_waits_for_one(file: Path) -> None:
    async with Worker(jsonl_path=file) as worker:
        await until(lambda: worker.rounds > 3)
        await worker.goes_on(["file"])
        assert (len(worker.log._queue), worker.log.dropped) == (0, 0)
    written = file.with_name(f"r.{os.getpid()}.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written) >= 3


async def test_a_full_deployment_is_news_that_the_other_workers_hear_at_once(relay: Relay) -> None:
    url = f"redis://{relay.address}"
    async with Worker(url, refresh_interval_s=30) as one, Worker(url, refresh_interval_s=30) as other:
        for worker in (one, other):
            await worker.goes_on([BELL])
        live, now_s = one.strategy.live, time.time()
        live.ended(live.dispatched("a", now_s), "full", now_s, 60.0)
        await until(
            lambda: (quota := other.strategy.live.state("a").quota) is not None and quota.until_s > now_s + 50,
            within_s=10,
        )
