"""The one background task of a worker: keeps snapshot and request log in step with Redis.

    every refresh interval:  tick (look at the router) → connect if needed → refresh the snapshot → write the log

Redis may be absent at start and may come and go. Attempts to reconnect start at a tenth of the interval and grow to the
whole interval, no further: a longer wait would keep routing on old measurements after Redis is back. Each change of
state is logged once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from slo_router.config import PluginSettings
from slo_router.load_signals import LoadSignals
from slo_router.probing import Ask, Probing
from slo_router.redis_link import LINK_ERRORS, AsyncClient, connect, masked
from slo_router.request_log import RequestLog
from slo_router.rollout import Rollout
from slo_router.sharing import Sharing
from slo_router.strategy import Strategy

FIRST_RETRY_SHARE = 0.1
STARTUP_POLL_S = 0.05
BEAT_S = 0.05
BEATS_PER_WATCH = 5
STALL_S = 0.05  # late by this much

log = logging.getLogger("slo_router")


class Hooks(NamedTuple):
    """What the composition root does for the task."""

    tick: Callable[[], bool]  # looks at the router; False while the proxy has none yet
    settle: Callable[[], None]  # records the requests that ended
    fallback_url: Callable[[], str | None]  # LiteLLM's own Redis
    ask_health: Ask


class Background:
    """Starts the task and keeps it alive."""

    def __init__(
        self, settings: PluginSettings, strategy: Strategy, request_log: RequestLog, rollout: Rollout, hooks: Hooks
    ) -> None:
        self._settings = settings
        self._rollout = rollout
        self._strategy = strategy
        self._request_log = request_log
        self._hooks = hooks
        self._sharing = Sharing(settings.key_prefix, settings.refresh_interval_s)
        self._load_signals = LoadSignals(settings.key_prefix, self._sharing.worker)
        self._probing = Probing(hooks.ask_health)
        self._rng = random.Random()  # noqa: S311  # the proxy's own randomness is not touched
        self._task: asyncio.Task[None] | None = None
        self._beats = 0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._client: AsyncClient | None = None
        self._connected: bool | None = None
        self._just_lost = False

    def ensure_running(self) -> None:
        """Starts the task in the running loop if there is a loop and no task."""
        if self._task is not None and not self._task.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop yet: the first request starts it
            return
        self._task = loop.create_task(self._run(), name="slo_router")
        self._task.add_done_callback(_report)

    async def _run(self) -> None:
        while not self._hooks.tick():  # noqa: ASYNC110  # the proxy tells nobody that its router is there
            await asyncio.sleep(STARTUP_POLL_S)
        if self._settings.freeze_heap:  # else a full collection of a million start-up objects stops an early request
            gc.collect()
            gc.freeze()
        url = self._settings.redis_url or self._hooks.fallback_url()
        if url is None:
            log.warning(
                "no Redis is configured: routing on configuration alone, request records go nowhere but the file"
            )
        interval_s = self._settings.refresh_interval_s
        delay_s = interval_s
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._beat(None)
        task = asyncio.current_task()
        while task is None or not task.cancelling():  # redis-py may swallow the cancellation itself
            self._hooks.tick()
            if await self._exchange(url):
                delay_s = interval_s
            else:
                delay_s = interval_s * FIRST_RETRY_SHARE if self._just_lost else min(delay_s * 2, interval_s)
            await asyncio.sleep(delay_s * self._rng.uniform(0.9, 1.0))  # so that workers don't march in step

    def _beat(self, due_s: float | None) -> None:
        """Notices when this process stood still: a collection of garbage, a blocking callback, a busy machine."""
        now_s = time.time()
        self._heartbeat = asyncio.get_running_loop().call_later(BEAT_S, self._beat, now_s + BEAT_S)
        if due_s is not None and now_s - due_s > STALL_S:
            self._strategy.live.stalled(due_s, now_s)
        self._beats += 1
        if self._beats % BEATS_PER_WATCH:
            return
        self._hooks.settle()
        if self._settings.live_measurements:
            self._strategy.watch()
            if self._settings.health_probes:
                self._probing.start(self._strategy.live, now_s, self._strategy.left_to_litellm(self._rollout.off))

    async def _exchange(self, url: str | None) -> bool:
        try:
            if url is not None and self._client is None:
                self._client = await asyncio.to_thread(connect, url)
            if self._client is not None:
                categories = sorted({name for group in self._strategy.groups.values() for name in group.categories})
                await self._strategy.store.refresh(self._client, list(self._strategy.facts), categories)
                await self._rollout.refresh(self._client)
            if self._settings.live_measurements:
                await self._share_live(self._client)
            await self._request_log.flush(self._client)
        except LINK_ERRORS as error:
            if self._settings.live_measurements:
                self._strategy.absorb(())
            await self._lost(url, error)
            return False
        self._just_lost = False
        if url is not None and self._connected is not True:
            measured = len(self._strategy.store.snapshot.measured)
            log.info("Redis at %s: %d of %d deployments measured", masked(url), measured, len(self._strategy.facts))
            self._connected = True
        return True

    async def _share_live(self, client: AsyncClient | None) -> None:
        strategy = self._strategy
        strategy.absorb(() if client is None else await self._sharing.exchange(client, strategy.export()))
        await self._load_signals.refresh(client, strategy.facts.values(), strategy.live)

    async def _lost(self, url: str | None, error: BaseException) -> None:
        self._just_lost = self._connected is not False
        if self._just_lost:
            what = "routing on the last snapshot" if self._connected else "routing on configuration (quality, prices)"
            log.warning("Redis at %s: %s; %s until it answers", masked(url or ""), type(error).__name__, what)
        self._connected = False
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the background task ended; the next request starts it again", exc_info=task.exception())
