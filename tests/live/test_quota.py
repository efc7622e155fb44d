"""A deployment that said until when it is full gets no request before, and then only as many as it takes."""

from __future__ import annotations

import math

import pytest

from slo_router.contract.model import Limits
from slo_router.live.live import Live
from slo_router.live.picture import hear
from slo_router.live.quota import (
    FIRST_PAUSE_S,
    LAPSES_S,
    LEARNED,
    LONGEST_S,
    Budget,
    Quota,
    Room,
    headroom,
    opens_s,
    refused,
    room,
    spend,
)
from slo_router.live.ratelimit import Report
from slo_router.live.state import LiveState
from slo_router.worker.tasks.turns import at_once
from tests.shared.builders import absorb, told_by, wire

NOW_S = 1_800_000_000.0  # a minute of the clock begins


class World:
    """Workers that send to one deployment. It takes `limit` requests in each window, and refuses the rest."""

    def __init__(self, workers: int, limit: int, window_s: float, limits: Limits | None = None) -> None:
        self.workers = [Live() for _ in range(workers)]
        for worker in self.workers:
            worker.allow("a", limits or Limits())
        self.limit, self.window_s = limit, window_s
        self.says_whole = False  # whether Retry-After is in whole seconds
        self.passed: dict[int, int] = {}
        self.refused: dict[int, int] = {}
        self._shared_s = NOW_S

    def share(self, now_s: float) -> None:
        told = [told_by(worker, now_s) for worker in self.workers]
        for index, worker in enumerate(self.workers):
            at_once(hear(worker, told[:index] + told[index + 1 :], {}, now_s, index))

    def ask(self, worker: int, now_s: float, other_way: bool = True) -> bool:
        """Whether the request went there."""
        live = self.workers[worker]
        found = may_go(live.state("a"), now_s)
        if found is Room.NONE or (found is Room.NO_OTHER_WAY and other_way):
            return False
        window = int((now_s - NOW_S) // self.window_s)
        flight = live.dispatched("a", now_s)
        if self.passed.get(window, 0) < self.limit:
            self.passed[window] = self.passed.get(window, 0) + 1
            live.finished(flight, "success", now_s)
            return True
        self.refused[window] = self.refused.get(window, 0) + 1
        end_s = NOW_S + (window + 1) * self.window_s
        live.ended(flight, "full", now_s, math.ceil(end_s - now_s) if self.says_whole else end_s - now_s)
        return True

    def run(self, seconds: float, rate: float, share_s: float = 1.0, from_s: float = 0.0, for_s: float = 60.0) -> None:
        """Sends requests at this rate, to the workers in turn, in the first `for_s` seconds of each window."""
        for number in range(int(seconds * rate)):
            now_s = NOW_S + from_s + number / rate
            if (now_s - NOW_S) % self.window_s >= for_s:
                continue
            if now_s - self._shared_s >= share_s:
                self.share(now_s)
                self._shared_s = now_s
            self.ask(number % len(self.workers), now_s)


def may_go(state: LiveState, now_s: float, tokens: float = 100) -> Room:
    return Room.ANY if state.quota is None else room(state.quota, now_s, tokens, state.in_flight)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("limit", [1, 7, 20, 50])
def test_after_two_refusals_the_limit_is_known_and_kept(workers: int, limit: int) -> None:
    world = World(workers, limit, 10.0)
    world.run(100, rate=20)
    assert [world.refused.get(window, 0) for window in range(3, 10)] == [0] * 7
    used = sum(world.passed.get(window, 0) for window in range(3, 10))
    assert used >= 0.9 * 7 * limit  # the rest is kept for those with no other way


def test_the_rest_is_kept_for_those_with_no_other_way_and_none_is_left_over() -> None:
    world = World(2, 40, 10.0)
    world.run(31, rate=20)
    assert world.passed[3] < 40 if 3 in world.passed else True
    world.run(8.9, rate=20, from_s=31)
    left = 40 - world.passed[3]
    assert left <= 4
    world.share(NOW_S + 39.9)
    for number in range(10):
        world.ask(number % 2, NOW_S + 39.95, other_way=False)
    assert world.passed[3] == 40
    assert 3 not in world.refused


def test_a_limit_that_was_raised_is_found_once_what_was_learned_has_lapsed() -> None:
    world = World(2, 10, 10.0)
    world.run(60, rate=10)
    world.limit = 40
    world.run(LAPSES_S + 100, rate=10, from_s=60)
    assert max(world.passed.values()) == 40
    assert sum(world.refused.values()) <= 5


@pytest.mark.parametrize(("rate", "for_s"), [(60, 0.4), (30, 0.6), (90, 0.2), (60, 3.0)])
def test_a_limit_is_kept_though_it_is_not_known_when_its_window_begins(rate: float, for_s: float) -> None:
    """Requests come at the window's beginning. Retry-After is in whole seconds, so the window seems to begin later."""
    world = World(2, 12, 5.0)
    world.says_whole = True
    world.run(60, rate=rate, share_s=0.2, for_s=for_s)
    assert sum(world.refused.get(window, 0) for window in range(3, 12)) <= 2  # of both workers at once
    assert sum(world.passed.get(window, 0) for window in range(3, 12)) >= 9 * 12 // 2


def test_a_refusal_of_a_known_limit_neither_raises_it_nor_takes_it_for_next_to_nothing() -> None:
    """Another worker was refused too and has not yet told what it spent, or another client used most of the limit."""
    for elsewhere, limit in ((8.0, 12), (0.0, 6)):
        quota = Quota()
        quota.budgets[LEARNED] = Budget.window(12, NOW_S, NOW_S + 5)
        for _ in range(5 if elsewhere else 1):
            spend(quota, NOW_S, 100)
        quota.budgets[LEARNED].elsewhere = elsewhere
        refused(quota, NOW_S + 1, NOW_S, 4.0)
        assert room(quota, NOW_S + 5, 100, 0) is Room.ANY
        assert quota.budgets[LEARNED].limit == limit


def test_a_refusal_reaches_the_other_workers() -> None:
    one, other = Live(), Live()
    one.ended(one.dispatched("a", NOW_S), "full", NOW_S, 30.0)
    absorb(other, [told_by(one)], {"a": None}, NOW_S)  # type: ignore[dict-item]
    assert may_go(other.state("a"), NOW_S + 29) is Room.NONE
    assert may_go(other.state("a"), NOW_S + 31) is Room.ANY
    assert other.state("a").circuit.failures == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        [],
        {"refused": [NOW_S + 60, NOW_S + 90, True, 0]},
        {"refused": [NOW_S, NOW_S + 1e6, True, 0]},
        {"refused": [NOW_S, "soon", True, 0]},
        {"budgets": {"learned": [0, 0, NOW_S, NOW_S + 60, 1]}},
        {"budgets": {"learned": [1, 1, NOW_S, NOW_S - 60, 1]}},
        {"budgets": {"rpm": [1, 1, NOW_S, NOW_S + 60, 1]}},
        {"budgets": {"requests": [1, -1, NOW_S, NOW_S + 60, 1], "other": [1, 1, NOW_S, None, 9]}},
        {"budgets": {"tokens": ["1", 1, NOW_S, NOW_S + 60, 1]}},
    ],
)
def test_nonsense_of_another_worker_shuts_nobody(nonsense: object) -> None:
    live = Live()
    live.dispatched("a", NOW_S)
    absorb(live, [wire({"a": {"quota": nonsense}})], {}, NOW_S)
    assert may_go(live.states["a"], NOW_S + 1) is Room.ANY


def test_who_does_not_say_until_when_is_tried_ever_more_rarely() -> None:
    live, now_s, tries = Live(), NOW_S, 0
    while now_s < NOW_S + 600:
        if may_go(live.state("a"), now_s) is Room.ANY:
            live.ended(live.dispatched("a", now_s), "full", now_s, None)
            tries += 1
        now_s += 0.25
    assert 10 <= tries <= 16
    assert may_go(live.state("a"), now_s + 61) is Room.ANY
    live.finished(live.dispatched("a", now_s + 61), "success", now_s + 61)
    live.ended(live.dispatched("a", now_s + 62), "full", now_s + 62, None)
    assert may_go(live.state("a"), now_s + 62 + FIRST_PAUSE_S) is Room.ANY


def test_nobody_is_believed_to_be_full_for_hours() -> None:
    live = Live()
    live.ended(live.dispatched("a", NOW_S), "full", NOW_S, 86_400.0)
    assert may_go(live.state("a"), NOW_S + LONGEST_S) is Room.ANY


def test_the_configured_requests_a_minute_are_those_of_all_workers() -> None:
    world = World(3, 1_000, 60.0, Limits(rpm=30))
    world.run(60, rate=10)
    assert 24 <= world.passed[0] <= 30
    world.run(60, rate=10, from_s=60)
    assert 24 <= world.passed[1] <= 30


def test_configured_tokens_and_requests_at_once() -> None:
    live = Live()
    live.allow("a", Limits(tpm=1_000))
    for _ in range(9):
        assert may_go(live.state("a"), NOW_S) is not Room.NONE
        live.finished(live.dispatched("a", NOW_S, tokens=100), "success", NOW_S)
    assert may_go(live.state("a"), NOW_S, tokens=200) is Room.NONE
    assert may_go(live.state("a"), NOW_S + 60, tokens=200) is Room.ANY
    flight = live.dispatched("a", NOW_S + 60, tokens=100)
    live.finished(flight, "success", NOW_S + 61, prompt_tokens=50, output_tokens=940)
    assert may_go(live.state("a"), NOW_S + 61) is Room.NONE  # it wrote more than was expected
    live.allow("b", Limits(at_once=2))
    flights = [live.dispatched("b", NOW_S) for _ in range(2)]
    assert may_go(live.state("b"), NOW_S) is Room.NONE
    live.finished(flights[0], "success", NOW_S)
    assert may_go(live.state("b"), NOW_S) is Room.ANY


def test_what_was_never_sent_or_was_refused_takes_nothing() -> None:
    live = Live()
    live.allow("a", Limits(rpm=1))
    live.unsent(live.dispatched("a", NOW_S))
    assert may_go(live.state("a"), NOW_S) is Room.ANY


def test_what_the_provider_reports_counts_with_what_left_since() -> None:
    live = Live()
    first = live.dispatched("a", NOW_S)
    live.dispatched("a", NOW_S + 0.1)
    live.reported(first, Report("requests", 2, 20, NOW_S + 30))
    quota = live.state("a").quota
    assert isinstance(quota, Quota)
    assert headroom(quota, NOW_S + 0.2) == pytest.approx(1 / 20, abs=0.01)  # 18 more in 30 s
    assert may_go(live.state("a"), NOW_S + 0.2) is Room.NO_OTHER_WAY
    live.dispatched("a", NOW_S + 0.2)
    assert may_go(live.state("a"), NOW_S + 0.3) is Room.NONE
    assert opens_s(quota, NOW_S + 0.3, 0, 0, 0.1) == pytest.approx(NOW_S + 30 / 18, abs=0.01)
    assert may_go(live.state("a"), NOW_S + 31) is Room.ANY


def test_a_report_that_is_older_than_the_last_is_ignored() -> None:
    live = Live()
    first, second = live.dispatched("a", NOW_S), live.dispatched("a", NOW_S + 1)
    live.reported(second, Report("requests", 0, 10, NOW_S + 60))
    live.reported(first, Report("requests", 9, 10, NOW_S + 60))
    assert may_go(live.state("a"), NOW_S + 2) is Room.NONE


def test_who_refuses_before_its_time_does_not_fill_evenly() -> None:
    live = Live()
    live.reported(live.dispatched("a", NOW_S), Report("requests", 0, 10, NOW_S + 60))
    assert may_go(live.state("a"), NOW_S + 10) is not Room.NONE
    flight = live.dispatched("a", NOW_S + 10)
    live.ended(flight, "full", NOW_S + 10, 50.0)
    assert may_go(live.state("a"), NOW_S + 59) is Room.NONE
    live.reported(live.dispatched("a", NOW_S + 61), Report("requests", 0, 10, NOW_S + 120))
    assert may_go(live.state("a"), NOW_S + 110) is Room.NONE


def test_a_refusal_of_what_was_sent_before_teaches_nothing() -> None:
    live = Live()
    late = live.dispatched("a", NOW_S)
    live.ended(live.dispatched("a", NOW_S), "full", NOW_S, 2.0)
    for second in range(3, 6):
        live.finished(live.dispatched("a", NOW_S + second), "success", NOW_S + second)
    live.ended(late, "full", NOW_S + 6, 60.0)
    assert may_go(live.state("a"), NOW_S + 7) is Room.ANY
