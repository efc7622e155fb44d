"""The background task starts once there is a loop, and prepares the worker before its first request."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest

from slo_router.background import Background, Hooks
from slo_router.config import GroupSettings, PluginSettings
from slo_router.live import Health
from slo_router.metrics_store import MetricsStore
from slo_router.request_log import RequestLog
from slo_router.rollout import Rollout
from slo_router.strategy import Strategy


async def _unasked(name: str) -> Health:
    raise AssertionError(f"nothing failed, and {name} was asked for its health")


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
@pytest.mark.parametrize("freeze", [False, True])
async def test_the_heap_is_frozen_once_the_router_is_there_where_asked_for(*, freeze: bool) -> None:
    settings = PluginSettings(groups={"smart": GroupSettings()}, freeze_heap=freeze, refresh_interval_s=0.01)
    strategy, log = Strategy(settings, MetricsStore("")), RequestLog(settings.log, "")
    has_router = False
    looked, looked_again = asyncio.Event(), asyncio.Event()

    def tick() -> bool:
        if has_router and looked.is_set():
            looked_again.set()  # it looks again once it has found the router and done what it does then
        looked.set()
        return has_router

    background = Background(
        settings, strategy, log, Rollout(settings), Hooks(tick, lambda: None, lambda: None, _unasked)
    )
    background.ensure_running()
    await asyncio.wait_for(looked.wait(), 60)
    assert gc.get_freeze_count() == 0
    has_router = True
    looked.clear()
    await asyncio.wait_for(looked_again.wait(), 60)
    assert (gc.get_freeze_count() > 0) == freeze


async def test_a_process_that_stood_still_is_noticed() -> None:
    settings = PluginSettings(groups={"smart": GroupSettings()}, refresh_interval_s=0.01)
    strategy, log = Strategy(settings, MetricsStore("")), RequestLog(settings.log, "")
    beat = asyncio.Event()  # every fifth heartbeat settles what has ended
    background = Background(
        settings, strategy, log, Rollout(settings), Hooks(lambda: True, beat.set, lambda: None, _unasked)
    )
    background.ensure_running()
    await beat.wait()
    flight = strategy.live.dispatched("a", time.time())
    time.sleep(0.3)  # noqa: ASYNC251  # stands still
    beat.clear()
    await beat.wait()
    took_s = time.time() - flight.at_s
    strategy.live.first_token(flight, time.time(), prompt_tokens=1, ttft_s=took_s)
    assert strategy.live.states["a"].evidence.at_s is None
