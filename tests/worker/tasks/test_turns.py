"""Work over all deployments runs in steps, and other tasks run between its slices.

`python -m evaluation.overhead.loop_hold` measures how long a step takes. These tests count how much work one step may
do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from typing import cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from slo_router.contract.model import Facts, Snapshot
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.latency.evidence import Evidence
from slo_router.live.live import Live
from slo_router.live.picture import hear
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker import snapshot as metrics_store
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks import turns
from tests.shared.builders import absorb, told_by

COUNT = 40
NAMES = [f"d{number}" for number in range(COUNT)]


async def test_others_go_on_between_two_slices_and_the_result_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SLICE_S", -1.0)  # a slice is over at once, even with a coarse clock
    seen: list[int] = []
    steps = 0

    def work() -> Generator[None, None, str]:
        nonlocal steps
        for steps in range(10):  # noqa: B007  # read by the other
            yield
        return "done"

    async def other() -> None:
        while True:
            seen.append(steps)
            await asyncio.sleep(0)

    watching = asyncio.create_task(other())
    assert await turns.in_turns(work()) == "done"
    watching.cancel()
    assert len(set(seen)) >= 9


def strategy() -> Strategy:
    settings = PluginSettings(groups={"smart": GroupSettings()})
    made = Strategy(settings, MetricsStore(""))
    made.know([ManagedDeployment("smart", Facts(name, "m")) for name in NAMES])
    for name in NAMES:
        serve(made.live, name)
    return made


def serve(live: Live, name: str) -> None:
    now_s = time.time()
    times = {"prompt_tokens": 100, "output_tokens": 11, "ttft_s": 0.1, "e2e_s": 0.2}
    live.finished(live.dispatched(name, now_s), "success", now_s, **times)  # type: ignore[arg-type]


def test_no_step_is_for_more_than_one_deployment() -> None:
    made = strategy()
    said = made.export()
    assert sum(1 for _ in said) >= COUNT
    assert sum(1 for _ in made.refit()) >= COUNT
    telemetry = Telemetry({}, CollectorRegistry(), 0.0)
    assert sum(1 for _ in telemetry.refreshing(Snapshot(), made.live.states)) >= COUNT


def test_what_another_worker_saw_is_added_up_worker_by_worker() -> None:
    made, peers = strategy(), 5
    assert sum(1 for _ in made.hear([told_by(made.live, time.time())] * peers)) >= COUNT * peers


def test_only_what_changed_is_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made, other = strategy(), strategy()
    fitted: list[str] = []
    read: list[object] = []
    fit, from_raw = Evidence.merge, Evidence.from_raw

    def counted(parts: Sequence[Evidence], now_s: float) -> Evidence:
        fitted.append("one")
        return fit(parts, now_s)

    def told(text: msgspec.Raw) -> Evidence | None:
        read.append(text)
        return from_raw(text)

    monkeypatch.setattr(Evidence, "merge", staticmethod(counted))
    monkeypatch.setattr(Evidence, "from_raw", told)
    now_s = time.time() + 1
    heard = [told_by(other.live, now_s)]
    for changed, count in ((None, COUNT), (None, 0), ("d7", 1)):
        if changed is not None:
            serve(other.live, changed)
            heard = [told_by(other.live, now_s)]
        fitted.clear()
        read.clear()
        list(hear(made.live, heard, NAMES, now_s))
        list(made.live.refit({}, now_s))
        assert (len(fitted), len(read)) == (count, count)


def test_what_nobody_adds_to_is_worked_out_again_as_it_ages() -> None:
    live = Live()
    serve(live, "a")
    now_s = time.time()
    absorb(live, (), {}, now_s)
    first = live.states["a"].curve
    absorb(live, (), {}, now_s + 300)
    assert first is not None
    assert live.states["a"].curve is not None
    assert live.states["a"].curve.weight < first.weight / 10  # five half-lives


class Counting:
    """An empty Redis that counts the commands in one pipeline."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def pipeline(self, **_: bool) -> Counting:
        self.sizes.append(0)
        return self

    def hgetall(self, _: str) -> None:
        self.sizes[-1] += 1

    async def execute(self, **_: bool) -> list[dict[str, str]]:
        return [{} for _ in range(self.sizes[-1])]


async def test_measurements_are_read_some_at_a_time() -> None:
    redis = Counting()
    await MetricsStore("").refresh(cast("AsyncClient", redis), NAMES, ("ner", "chat"))
    assert sum(redis.sizes) == 2 * COUNT
    assert max(redis.sizes) == metrics_store.AT_ONCE


async def test_what_was_worked_out_of_measurements_stays_while_they_do() -> None:
    class Same(Counting):
        async def execute(self, **_: bool) -> list[dict[str, str]]:
            return [{"timestamp": "1700000000", "ttft_ms": "90"} for _ in range(self.sizes[-1])]

    store = MetricsStore("")
    await store.refresh(cast("AsyncClient", Same()), NAMES, ("ner",))
    first = store.snapshot
    await store.refresh(cast("AsyncClient", Same()), NAMES, ("ner",))
    assert store.snapshot is not first
    assert store.snapshot.measured is first.measured
    assert (store.snapshot.read_at_s or 0) > (first.read_at_s or 0)
