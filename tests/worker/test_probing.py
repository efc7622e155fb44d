"""Deployments that failed get health checks in the background. Requests find out about those that cannot get any."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from slo_router.live.circuit import CLOSED, PROBE_S, share, suspected
from slo_router.live.live import Live
from slo_router.live.probes import Health
from slo_router.worker import probing
from slo_router.worker.probing import Probing


class Asked:
    """A fake health check, which answers as told and remembers the deployments that were asked."""

    def __init__(self, health: Health | Exception | None) -> None:
        self._health = health
        self.names: list[str] = []

    async def __call__(self, name: str) -> Health:
        self.names.append(name)
        if self._health is None:
            await asyncio.sleep(3600)
        if isinstance(self._health, Exception):
            raise self._health
        assert self._health is not None
        return self._health


def broken(now_s: float) -> Live:
    live = Live()
    for name, errors in (("a", 3), ("b", 2)):
        for _ in range(errors):
            live.finished(live.dispatched(name, now_s), "error", now_s)
    return live


async def probe(live: Live, asked: Asked, now_s: float) -> Probing:
    running = Probing(asked)
    running.start(live, now_s)
    await ended(running)
    return running


async def ended(running: Probing) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*running._tasks.values())


async def test_only_what_failed_is_asked_and_an_answer_lets_traffic_back() -> None:
    now_s = time.time()
    live, asked = broken(now_s - 1), Asked("answers")
    await probe(live, asked, now_s)
    assert asked.names == ["a"]
    circuit = live.states["a"].circuit
    assert circuit.changed_at_s is not None
    assert 0 < share(circuit, circuit.changed_at_s) < 1


async def test_a_deployment_that_is_left_to_litellm_is_not_asked() -> None:
    now_s = time.time()
    asked = Asked("answers")
    running = Probing(asked)
    running.start(broken(now_s - 1), now_s, {"a"})
    assert running._tasks == {}


async def test_while_a_check_is_not_answered_no_request_has_to_find_out_though_the_circuit_opened_anew() -> None:
    now_s = time.time()
    live, asked = broken(now_s - 1), Asked(None)
    running = Probing(asked)
    running.start(live, now_s)
    live.states["a"].circuit = suspected(CLOSED, now_s + 1)
    live.finished(live.dispatched("a", now_s + 2), "error", now_s + 3)  # a request was let through and failed
    running.start(live, now_s + 4)
    for _ in range(5):
        await asyncio.sleep(0)
    assert asked.names == ["a"]
    assert share(live.states["a"].circuit, now_s + 4 + PROBE_S - 0.1) == 0
    for task in running._tasks.values():
        task.cancel()


@pytest.mark.parametrize("health", ["fails", None])
async def test_what_fails_or_does_not_answer_stays_shut(health: Health | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "TIMEOUT_S", 0.02)
    now_s = time.time()
    live = broken(now_s - 1)
    await probe(live, Asked(health), now_s)
    circuit = live.states["a"].circuit
    assert circuit.changed_at_s is not None
    assert (share(circuit, circuit.changed_at_s), circuit.pause_s) == (0, 2)


@pytest.mark.parametrize("health", ["unclear", RuntimeError("http://10.0.0.1/v1")])
async def test_where_a_health_check_cannot_tell_a_request_finds_out_and_the_log_says_so_once(
    health: Health | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = time.time()
    live, asked = broken(now_s - 1), Asked(health)
    with caplog.at_level(logging.WARNING, "slo_router"):
        running = await probe(live, asked, now_s)
        running.start(live, now_s + 60)
        await ended(running)
    assert asked.names == ["a"]
    assert share(live.states["a"].circuit, now_s + 0.1) == 1
    assert [record.message for record in caplog.records] == [
        "a fails, and its health check cannot tell when it is back: requests will find out"
    ]
