"""A silent deployment is given up if another is likely to answer sooner, and if that makes no storm of calls."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.contract.model import LEVELS, Decision, Facts
from slo_router.contract.settings.group import RescueSettings
from slo_router.latency.curve import Curve, slower
from slo_router.live.circuit import CLOSED, failed, suspected
from slo_router.live.live import Live
from slo_router.live.state import Flight, LastWord
from slo_router.rescue.budget import LEAST
from slo_router.rescue.deadline import Deadline
from slo_router.rescue.rescues import FOLLOWED_S, LATE_S, LOOK_S, UNKNOWN, Rescues
from tests.shared.builders import NOTHING_KNOWN, NOW_S, REQUEST, assessed, decided

WIDE = RescueSettings(min_ms=1, max_ms=1_000_000)
DEADLINE_S, LONGEST_S = 2.0, 8.0


def curve(ttft_s: float) -> Curve:
    flat = tuple(1.0 for _ in LEVELS)
    return Curve(ttft_s, 0.0, 0.0, 0.01, 0.0, flat, flat, weight=50.0)


class World:
    """One request at `a`, beside `b` and `c`; each has a typical time, or none is known."""

    def __init__(self, share: float = 0.03, **ttft_s: float | None) -> None:
        self.live = Live()
        for name, seconds in ttft_s.items():
            state = self.live.state(name)
            state.fitted = state.curve = None if seconds is None else curve(seconds)
        self.rescues = Rescues(self.live, lambda: None)
        self.rescues.budget.earn("smart", share, NOW_S)
        self.decision: Decision = decided([Facts(name, "m") for name in ttft_s], features=REQUEST._replace(stream=True))
        self.flight = Flight("a", NOW_S, 0.0, None, 1.0)

    def after(self, waited_s: float, tried: Collection[str] = ("a",)) -> tuple[str, float | None]:
        found = self.rescues.verdict(
            self.decision,
            self.flight,
            NOW_S + waited_s,
            deadline=Deadline(DEADLINE_S, LONGEST_S),
            group="smart",
            tried=tried,
        )
        return found.reason, found.wait_s

    def is_slow(self, name: str, times: float = 5.0) -> None:
        """Requests wait at this deployment for `times` its usual time."""
        state = self.live.state(name)
        state.curve = state.fitted if times == 1.0 else slower(curve(1.0), times)

    def answers(self, name: str, sent_s: float) -> None:
        """Answers in time a request that was sent at `sent_s`."""
        flight = self.live.dispatched(name, sent_s)
        self.live.first_token(flight, sent_s + 0.5, prompt_tokens=None, ttft_s=0.5)

    def deadline_s(self, tried: Collection[str] = ("a",)) -> float | None:
        found = self.rescues.deadline(self.decision, self.flight, WIDE, tried=tried, stream=True)
        return None if found is None else found.due_s


def test_the_next_takes_over_once_the_request_waited_for_as_long_as_that_typically_takes() -> None:
    world = World(a=1.0, b=3.0, c=5.0)
    assert world.after(2.0) == ("wait", pytest.approx(1.0))
    assert world.after(3.0) == ("rescue", None)


def test_one_of_which_nothing_is_known_is_the_better_bet_only_later() -> None:
    world = World(a=1.0, b=None)
    assert world.after(2.0) == ("wait", pytest.approx(UNKNOWN * DEADLINE_S - 2.0))
    assert world.after(UNKNOWN * DEADLINE_S) == ("rescue", None)


def test_nobody_is_given_up_where_all_others_let_requests_wait_too() -> None:
    world = World(a=1.0, b=1.0, c=1.0)
    for name in "bc":
        world.is_slow(name)
    assert world.after(2.0) == ("slow", pytest.approx(2.0))


def test_where_one_of_them_does_another_has_to_show_that_it_is_well() -> None:
    """One deployment is silent and one is late. All may be slow: no request shows how the last one is."""
    world = World(a=1.0, b=1.0, c=1.0)
    world.is_slow("b")
    world.answers("c", NOW_S - DEADLINE_S)
    assert world.after(2.0) == ("slow", pytest.approx(2.0))
    world.answers("c", NOW_S - DEADLINE_S + 0.1)
    assert world.after(2.0) == ("rescue", None)


def test_so_it_is_where_that_one_is_suspected_to_hang_but_not_where_it_is_broken() -> None:
    world = World(a=1.0, b=1.0, c=1.0)
    world.is_slow("b")
    world.live.state("b").circuit = suspected(CLOSED, NOW_S)
    assert world.after(2.0)[0] == "slow"
    world.live.state("b").circuit = failed(failed(failed(CLOSED, NOW_S), NOW_S), NOW_S)
    assert world.after(2.0)[0] == "rescue"


def test_the_last_answer_that_was_late_counts_though_the_queue_is_gone_until_another_is_in_time() -> None:
    world = World(a=1.0, b=1.0)
    state = world.live.state("b")
    state.last_word = LastWord(NOW_S + 2.1 - LATE_S, level=6.0, load=9.0)
    assert world.after(2.0)[0] == "slow"
    assert world.after(2.2)[0] == "rescue"
    state.last_word = LastWord(NOW_S)
    world.rescues = Rescues(world.live, lambda: None)
    world.rescues.budget.earn("smart", 0.03, NOW_S)
    assert world.after(2.0)[0] == "rescue"


def test_an_answer_of_a_slower_one_says_nothing_of_the_next() -> None:
    world = World(a=1.0, b=1.0, c=1.5)
    world.answers("c", NOW_S + 1.0)
    assert [world.after(2.0)[0] for _ in range(2)] == ["rescue", "wait"]
    world.answers("b", NOW_S + 1.0)
    assert world.after(2.0)[0] == "rescue"


def test_once_the_budget_is_used_up_it_is_looked_at_again_later() -> None:
    world = World(a=1.0, b=1.0, share=0.0025)
    assert world.after(2.0)[0] == "rescue"
    world.answers("b", NOW_S + 2.0)
    assert world.after(2.0) == ("budget", pytest.approx(2.0))
    for second in range(LEAST):
        world.rescues.budget.earn("smart", 0.0025, NOW_S + second)
    assert world.after(4.0)[0] == "rescue"


def test_one_alone_goes_to_another_until_somebody_was_answered_there_since_and_then_a_few() -> None:
    world = World(a=1.0, b=1.0)
    assert [world.after(2.0)[0] for _ in range(2)] == ["rescue", "wait"]
    flight = world.live.dispatched("b", NOW_S + 2.0)
    world.rescues.followed("smart", flight)
    assert world.after(2.5) == ("wait", LOOK_S)
    world.live.first_token(flight, NOW_S + 2.6, prompt_tokens=None, ttft_s=0.6)
    assert [world.after(2.7)[0] for _ in range(4)] == ["rescue", "rescue", "rescue", "wait"]
    flights = [world.live.dispatched("b", NOW_S + 2.7) for _ in range(3)]
    for flight in flights:
        world.rescues.followed("smart", flight)
    world.live.finished(flights[1], "success", NOW_S + 2.8)
    assert [world.after(2.9)[0] for _ in range(2)] == ["rescue", "wait"]
    assert world.after(2.9 + FOLLOWED_S)[0] == "rescue"  # nobody sent it again


def test_what_came_and_what_waits_is_looked_at_first_and_the_other_workers_are_told() -> None:
    world, told = World(a=1.0, b=1.0), list[str]()
    world.rescues = Rescues(world.live, lambda: world.is_slow("b"))
    world.live.tell_soon = lambda: told.append("now")
    world.rescues.budget.earn("smart", 0.03, NOW_S)
    assert world.after(2.0)[0] == "slow"
    assert told == []
    world.rescues = Rescues(world.live, lambda: world.is_slow("b", 1.0))
    world.rescues.budget.earn("smart", 0.03, NOW_S)
    assert world.after(2.0)[0] == "rescue"
    assert told == ["now"]


def test_many_looks_at_once_look_once_at_what_came() -> None:
    world, looked = World(a=1.0, b=1.0), list[str]()
    world.rescues = Rescues(world.live, lambda: looked.append("now"))
    world.rescues.budget.earn("smart", 0.03, NOW_S)
    for _ in range(9):
        world.after(2.0)
    world.after(2.1)
    assert len(looked) == 2


def test_there_is_no_deadline_where_nobody_else_could_answer() -> None:
    world = World(a=1.0, b=1.0)
    assert world.deadline_s() == pytest.approx(1.5)
    assert world.deadline_s(tried=("a", "b")) is None
    assert world.after(9.0, tried=("a", "b")) == ("alone", None)
    world.live.state("b").circuit = failed(failed(failed(CLOSED, NOW_S), NOW_S), NOW_S)
    assert world.deadline_s() is None
    assert World(a=1.0).deadline_s() is None


def test_who_breaks_a_filter_is_nobody_else() -> None:
    world = World(a=1.0, b=1.0)
    small = [Facts("a", "m"), Facts("b", "m", context_tokens=10)]
    world.decision = decided(small, features=REQUEST._replace(stream=True))
    assert world.deadline_s() is None


def test_a_benchmark_that_is_too_low_gives_up_three_in_a_day_and_then_waits() -> None:
    """Each given-up request teaches nothing. Without the limit a healthy deployment's times would never be learned."""
    world = World(a=None, b=1.0)
    known = [assessed(one.deployment_id, NOTHING_KNOWN._replace(ttft_s=0.1)) for one in world.decision.assessments]
    world.decision = world.decision._replace(assessments=tuple(known))
    found = [world.deadline_s()]
    for second in range(4):
        world.answers("b", NOW_S + second)
        world.after(10.0)
        found.append(world.deadline_s())
    assert found == pytest.approx([0.3, 1.2, 4.8, 19.2, 19.2])
    world.live.state("a").fitted = curve(1.0)
    assert world.deadline_s() == pytest.approx(1.5)
    world.live.state("a").fitted = None  # the deployment's evidence faded
    assert world.deadline_s() == pytest.approx(19.2)
    world.flight = Flight("a", NOW_S + 2 * DAY_S, 0.0, None, 1.0)
    assert world.deadline_s() == pytest.approx(0.3)


def test_who_is_at_the_address_of_the_silent_one_is_asked_last_and_only_where_that_server_lives() -> None:
    world = World(a=1.0, b=0.5, c=3.0)
    world.rescues.same_server = {"a": frozenset("b"), "b": frozenset("a")}
    assert world.rescues.beside(["a", "c"]) == {"b"}
    assert world.after(2.0) == ("wait", pytest.approx(1.0))  # c is asked, not b
    assert world.after(2.0, tried=("a", "c")) == ("slow", pytest.approx(2.0))
    world.answers("b", NOW_S + 0.1)
    assert world.after(2.0, tried=("a", "c"))[0] == "rescue"
    assert world.deadline_s(tried=("a", "c")) is not None


def test_a_server_that_lets_all_of_its_deployments_wait_does_not_show_that_everything_is_slow() -> None:
    world = World(a=1.0, b=1.0, c=1.0)
    world.is_slow("b")
    assert world.after(2.0)[0] == "slow"
    world.rescues.same_server = {"a": frozenset("b"), "b": frozenset("a")}
    assert world.after(2.0)[0] == "rescue"
