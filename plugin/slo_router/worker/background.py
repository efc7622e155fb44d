"""What a worker does beside its requests: jobs, each in a task of its own, see `jobs`.

    router     follow LiteLLM's router, bring the metrics up to date       every refresh interval
    settling   record the requests that ended, learn from them             four times a second
    watching   look for what hangs or is slow, start health checks         four times a second
    fitting    work out what to expect, from all that was seen             every refresh interval
    load       ask the model servers how busy they are                     every refresh interval
    snapshot   read measurements, policies, switches and ratings           every refresh interval
    sharing    tell the other workers through Redis, and hear them         every refresh interval, and on news
    bell       wait for another worker's news                              all the time
    pairing    start a comparison of two answers, see `pairing`            every refresh interval
    records    write the records to Redis                                  every refresh interval

The file of records has a thread of its own, see `request_log`. Each job that uses Redis has its own connection, and so
have ratings. Redis may be absent at start, and may come and go. Each change of a connection's state is logged once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import NamedTuple

from slo_router.contract.redis.link import AsyncClient, masked
from slo_router.contract.settings.config import PluginSettings
from slo_router.errors import FeedbackError
from slo_router.worker.learning.feedback import sources_of
from slo_router.worker.learning.rating import Rated, Rating, rate
from slo_router.worker.pairing.paired import ShadowEvaluation
from slo_router.worker.probing import Ask, Probing
from slo_router.worker.request_log import RequestLog
from slo_router.worker.rollout import Rollout
from slo_router.worker.scraper import LoadSignals
from slo_router.worker.sharing import LISTEN_S, Sharing
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.aside import Names
from slo_router.worker.tasks.connection import Connection, Without
from slo_router.worker.tasks.jobs import Job, Jobs, Standing, ToldError
from slo_router.worker.tasks.turns import in_turns

STARTUP_POLL_S = 0.05
BEAT_S = 0.05
WATCH_S = 0.25
STALL_S = 0.05  # a beat that is later than this shows that the process stood still
MOST_SPREAD_S = 1.0  # the model servers are asked one after another within this time
MOST_RINGS = 20  # of the bell in one round
WITHIN_S = 30.0  # a round may take so long, on a busy machine; a client of Redis gives up after 2 s without a byte

log = logging.getLogger("slo_router")


class Hooks(NamedTuple):
    """What `Plugin` does for the jobs. The first two are generators, worked off step by step."""

    tick: Callable[[], Generator[None, None, bool]]  # looks at the router; False while the proxy has none yet
    settle: Callable[[], Generator[None, None, None]]  # records the requests that ended
    fallback_url: Callable[[], str | None]  # LiteLLM's own Redis
    ask_health: Ask
    paired: ShadowEvaluation | None = None


class Background:
    """Starts the jobs and keeps them alive."""

    def __init__(
        self, settings: PluginSettings, strategy: Strategy, request_log: RequestLog, rollout: Rollout, hooks: Hooks
    ) -> None:
        self._settings = settings
        self._rollout = rollout
        self._strategy = strategy
        self._request_log = request_log
        self._hooks = hooks
        self._names = Names()
        self._sharing = Sharing(settings.key_prefix, settings.refresh_interval_s)
        self._load_signals = LoadSignals(settings.key_prefix, self._sharing.worker, self._names)
        self._probing = Probing(hooks.ask_health)
        self._jobs = Jobs()
        self._task: asyncio.Task[None] | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._connections: list[Connection] = []
        self._news = asyncio.Event()  # this worker's, or another one's
        self._has_news = False  # this worker's own
        self._strategy.live.tell_soon = self._ring
        self._heard_at_s: float | None = None  # from the other workers, on the monotonic clock
        self._rating: Connection | None = None

    def ensure_running(self) -> None:
        """Starts the jobs in the running loop if there is a loop and they do not run."""
        if self._task is not None and not self._task.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop yet: the first request starts it
            return
        self._task = loop.create_task(self._run(), name="slo_router")
        self._task.add_done_callback(_report)

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How each job goes, by name; the file of records is one of them."""
        file = self._request_log.file_standing
        return self._jobs.standings if file is None else {**self._jobs.standings, "file": file}

    async def rate(self, rating: Rating) -> Rated:
        """Takes a rating of a request. Raises FeedbackError."""
        if self._rating is None:
            raise FeedbackError(503, "no Redis is configured, so there is no record of a request")
        found: list[Rated] = []

        async def work(client: AsyncClient) -> None:
            found.append(await rate(client, self._settings, rating))

        try:
            await self._rating.use(work)
        except ToldError:
            raise FeedbackError(503, "Redis does not answer, try again later") from None
        return found[0]

    async def aclose(self) -> None:
        """Ends the jobs and their connections. In a proxy they run until it ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if self._hooks.paired is not None:
            await self._hooks.paired.aclose()
        for connection in self._connections:
            await connection.aclose()
        await self._load_signals.aclose()

    async def _run(self) -> None:
        while not await in_turns(self._hooks.tick()):  # noqa: ASYNC110  # the proxy does not tell when its router is there
            await asyncio.sleep(STARTUP_POLL_S)
        if self._settings.freeze_heap:  # else a full collection of a million start-up objects stops an early request
            gc.collect()
            gc.freeze()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._beat(None)
        await self._jobs.run(self._all_jobs())

    def _all_jobs(self) -> list[Job]:
        interval_s, is_live = self._settings.refresh_interval_s, self._settings.live_measurements
        jobs = [
            Job("router", lambda: in_turns(self._hooks.tick()), interval_s, WITHIN_S),
            Job("settling", lambda: in_turns(self._hooks.settle()), WATCH_S, WITHIN_S),
            Job("fitting", self._fit, interval_s, WITHIN_S),
        ]
        if is_live:
            jobs += [
                Job("watching", self._watch, WATCH_S, WITHIN_S),
                Job("load", self._ask_load, interval_s, WITHIN_S),
            ]
        url = self._settings.redis_url or self._hooks.fallback_url()
        self._request_log.has_redis = url is not None
        if url is None:
            log.warning(
                "no Redis is configured: routing on configuration alone, request records go nowhere but the file"
            )
            return jobs
        return [*jobs, *self._jobs_with(url, interval_s)]

    def _jobs_with(self, url: str, interval_s: float) -> Iterator[Job]:
        """The jobs that use Redis."""
        without = (
            Without("routing on configuration (quality, prices)", "routing on the last snapshot"),
            Without("request records wait", "request records wait"),
            Without("live figures are this worker's own", "live figures are this worker's own"),
            Without("what other workers tell comes seconds later", "what other workers tell comes seconds later"),
            Without("no rating is taken", "no rating is taken"),
            Without("nothing is compared", "nothing is compared"),
        )
        self._connections = [Connection(url, self._names, one) for one in without]
        reading, writing, sharing, listening, self._rating, pairing = self._connections

        async def read() -> None:
            if await reading.use(self._read):
                strategy = self._strategy
                measured = len(strategy.store.snapshot.measured)
                log.info("Redis at %s: %d of %d deployments measured", masked(url), measured, len(strategy.facts))

        yield Job("snapshot", read, interval_s, WITHIN_S)
        yield Job("records", lambda: writing.use(self._write), interval_s, WITHIN_S)
        paired = self._hooks.paired
        if paired is not None:
            yield Job("pairing", lambda: paired.round(pairing.use), interval_s, WITHIN_S)
        if self._settings.live_measurements:
            yield Job("sharing", lambda: sharing.use(self._share), interval_s, WITHIN_S, self._news)
            yield Job("bell", lambda: listening.use(self._listen), LISTEN_S, WITHIN_S)

    def _beat(self, due_s: float | None) -> None:
        """Notices when this process stood still: a collection of garbage, a blocking callback, a busy machine."""
        now_s = time.time()
        self._heartbeat = asyncio.get_running_loop().call_later(BEAT_S, self._beat, now_s + BEAT_S)
        if due_s is not None and now_s - due_s > STALL_S:
            self._strategy.live.stalled(due_s, now_s)

    async def _watch(self) -> None:
        self._strategy.watch()
        if self._settings.health_probes:
            self._strategy.live.ask_soon = self._probe
            self._probe()

    def _probe(self) -> None:
        off = self._strategy.left_to_litellm(self._rollout.off)
        self._probing.start(self._strategy.live, time.time(), off)

    async def _fit(self) -> None:
        heard_at_s = self._heard_at_s
        if heard_at_s is not None and time.monotonic() - heard_at_s > self._sharing.lasts_s:
            self._heard_at_s = None
            await in_turns(self._strategy.hear(()))  # what the other workers said has lapsed
        await in_turns(self._strategy.refit())

    async def _ask_load(self) -> None:
        spread_s = min(self._settings.refresh_interval_s / 2, MOST_SPREAD_S)
        await self._load_signals.ask(self._strategy.facts.values(), self._strategy.live, spread_s)

    async def _read(self, client: AsyncClient) -> None:
        strategy = self._strategy
        categories = sorted({name for group in strategy.groups.values() for name in group.categories})
        await strategy.store.refresh(client, list(strategy.facts), categories)
        await self._rollout.refresh(client)
        groups = [group.settings for group in strategy.groups.values()]
        await strategy.feedback.refresh(client, time.time(), sources_of(groups, feedback=self._settings.feedback))
        if any(group.shadow_evaluation for group in groups):
            await strategy.comparisons.refresh(client, time.time())

    async def _listen(self, client: AsyncClient) -> None:
        for _ in range(MOST_RINGS):
            if not await self._sharing.listen(client):
                break
            self._news.set()

    def _ring(self) -> None:
        self._has_news = True
        self._news.set()

    async def _share(self, client: AsyncClient) -> None:
        rings, self._has_news = self._has_news, False
        if not rings:
            await self._load_signals.stand(client, self._strategy.facts.values(), self._settings.refresh_interval_s)
        own = await in_turns(self._strategy.export())
        exports = await self._sharing.exchange(client, own, rings=rings)
        await in_turns(self._strategy.hear(exports, self._sharing.rank))
        self._heard_at_s = time.monotonic()

    async def _write(self, client: AsyncClient) -> None:
        await self._request_log.flush(client)
        if self._strategy.worths.is_limited:
            await self._strategy.worths.spending.settle(client, time.time())
        await self._strategy.implicit.tell(client, time.time())


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the background jobs ended; the next request starts them again", exc_info=task.exception())
