"""A worker's background jobs in the test's own process, and their peers, which a test can make hang.

Relay       stands between the worker and a Valkey: passes bytes on, is silent, or passes one byte at a time
LoadServer  a model server's /metrics: answers, is silent, or sends one byte at a time
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeVar

from slo_router.contract.model import Facts
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.live.probes import Health
from slo_router.worker.background import Background, Hooks
from slo_router.worker.probing import Ask
from slo_router.worker.records import build_record
from slo_router.worker.request_log import RequestLog
from slo_router.worker.rollout import Rollout
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace

Mode = Literal["pass", "silent", "drip"]
INTERVAL_S = 0.05
DRIP_S = 0.1  # between two bytes
WITHIN_S = 60.0
T = TypeVar("T")


def at_once(call: Callable[[], T]) -> Callable[[], Generator[None, None, T]]:
    """A hook without steps, made of a function."""

    def steps() -> Generator[None, None, T]:
        return call()
        yield

    return steps


async def nobody_asks(name: str) -> Health:
    """Fails the test: no deployment failed, so no health check may come."""
    raise AssertionError(f"nothing failed, and {name} was asked for its health")


class Worker:
    """The jobs of one worker with the deployments `a` and `b`. If `a` has an address, it reports its load."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        metrics_url: str | None = None,
        jsonl_path: Path | None = None,
        ask: Ask = nobody_asks,
        tick: Callable[[], bool] = lambda: True,
        **settings: object,
    ) -> None:
        log = LogSettings(jsonl_path=None if jsonl_path is None else str(jsonl_path), queue_size=100)
        section = {"groups": {"smart": GroupSettings()}, "redis_url": redis_url, "refresh_interval_s": INTERVAL_S}
        self.settings = PluginSettings.model_validate({**section, "log": log, "freeze_heap": False, **settings})
        self.strategy = Strategy(self.settings, MetricsStore(""))
        facts = (Facts("a", "m", metrics_url=metrics_url), Facts("b", "m"))
        self.strategy.know([ManagedDeployment("smart", one) for one in facts])
        self.log = RequestLog(self.settings.log, "")
        self.rounds = 0  # rounds of settling; a request ends in each
        hooks = Hooks(at_once(tick), at_once(self.settle), lambda: None, ask)
        self.background = Background(self.settings, self.strategy, self.log, Rollout(self.settings), hooks)

    async def __aenter__(self) -> Self:
        self.background.ensure_running()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.background.aclose()

    def settle(self) -> None:
        """Ends a request in each round."""
        self.rounds += 1
        self.log.offer(build_record({"id": f"r{self.rounds}"}, Trace("acompletion", time.time())))

    def succeeded_at_s(self, job: str) -> float:
        """When a job last succeeded, in Unix seconds; 0 if it never began."""
        standing = self.background.standings.get(job)
        return 0.0 if standing is None else standing.succeeded_at_s

    def _went_on(self, jobs: Sequence[str], since_s: float) -> bool:
        return all(self.succeeded_at_s(job) > since_s for job in jobs)

    async def goes_on(self, jobs: Sequence[str], rounds: int = 3) -> None:
        """Returns when each of the jobs has succeeded `rounds` more times."""
        for _ in range(rounds):
            since_s = time.time()
            await until(partial(self._went_on, jobs, since_s))


async def until(condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Waits for a condition without holding the event loop."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.01)


class _Server:
    """A TCP server in the test's event loop."""

    def __init__(self, mode: Mode = "pass") -> None:
        self.mode: Mode = mode
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """Host and port."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        raise NotImplementedError

    async def send(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """Sends an answer as the mode says."""
        while self.mode == "silent":  # noqa: ASYNC110  # a test may change it at any time
            await asyncio.sleep(INTERVAL_S)
        if self.mode == "pass":
            writer.write(answer)
            await writer.drain()
            return
        for place in range(len(answer)):
            while self.mode == "drip" and place == len(answer) - 1:  # noqa: ASYNC110  # a dripping answer never ends
                await asyncio.sleep(INTERVAL_S)
            writer.write(answer[place : place + 1])
            await writer.drain()
            await asyncio.sleep(DRIP_S)


class Relay(_Server):
    """See the module."""

    def __init__(self, port: int, mode: Mode = "pass") -> None:
        super().__init__(mode)
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        answering = asyncio.create_task(self._answer(from_server, writer))
        try:
            while asked := await reader.read(65_536):
                to_server.write(asked)
                await to_server.drain()
        finally:
            answering.cancel()
            to_server.transport.abort()

    async def _answer(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await from_server.read(65_536):
            await self.send(writer, answer)


class LoadServer(_Server):
    """See the module."""

    @property
    def url(self) -> str:
        """The URL of the server's metrics."""
        return f"http://{self.address}/metrics"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        page = b'vllm:num_requests_running{engine="0"} 3.0\n'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(page)
        while await reader.readuntil(b"\r\n\r\n"):
            await self.send(writer, head + page)
