"""A healthy request is hardly ever given up, whatever the spread of TTFTs. A stalled request is given up in time."""

from __future__ import annotations

import pytest

from slo_router.contract.model import LEVELS, Slo
from slo_router.latency.curve import Curve
from slo_router.live.live import Live
from slo_router.live.state import Flight
from slo_router.rescue.patience import QUICK, Patience
from tests.rescue.steady_world import Times, World
from tests.shared.builders import NOW_S

LEARNED = 50  # answers
SHORT, WIDE, MIXED = Times(0.3), Times(1.2), Times(0.3, 0.03)
FLAT = tuple(1.0 for _ in LEVELS)


class Server:
    """A deployment with a known usual TTFT, and one request in flight."""

    def __init__(self) -> None:
        self.live, self.patience = Live(), Patience()
        self.state = self.live.state("a")
        self.state.fitted = Curve(1.0, 0.0, 0.0, 0.01, 0.0, FLAT, FLAT, weight=50.0)

    def sent(self, at_s: float) -> Flight:
        return self.live.dispatched("a", NOW_S + at_s, 1.0)

    def answers(self, flight: Flight) -> None:
        self.live.first_token(flight, flight.at_s + 1, prompt_tokens=None, ttft_s=1.0)

    def gives_up(self, flight: Flight, at_s: float, *, was_waited_for: bool = False) -> None:
        self.patience.gave_up(flight, self.state, NOW_S + at_s, was_waited_for=was_waited_for)
        self.live.ended(flight, "silent", NOW_S + at_s)

    def waits(self, flight: Flight, after_s: float = 2.0) -> bool:
        return self.patience.waits(flight, self.state, flight.at_s + after_s)


def test_the_first_is_given_up_and_the_next_is_waited_for_once_somebody_else_was_answered() -> None:
    server = Server()
    first = server.sent(0.0)
    assert not server.waits(first)
    server.gives_up(first, 2.0)
    second = server.sent(2.1)
    assert not server.waits(second)  # the server may hang
    server.live.ended(second, "disconnected", NOW_S + 5)
    server.answers(server.sent(5.0))
    assert server.waits(server.sent(6.0))


def test_where_that_one_does_not_come_either_some_are_given_up_at_once() -> None:
    server = Server()
    server.gives_up(server.sent(0.0), 2.0)
    server.answers(server.sent(3.0))
    server.gives_up(server.sent(4.0), 12.0, was_waited_for=True)
    for number in range(QUICK + 1):
        server.answers(server.sent(13.0 + 3 * number))
        flight = server.sent(14.0 + 3 * number)
        assert server.waits(flight) == (number == QUICK)
        server.gives_up(flight, 15.0 + 3 * number)


def test_nobody_is_waited_for_where_another_is_late_too_and_nobody_who_was_sent_later_was_answered() -> None:
    server = Server()
    server.gives_up(server.sent(0.0), 2.0)
    server.answers(server.sent(3.0))
    flight, _, later = server.sent(4.0), server.sent(4.8), server.sent(4.9)
    assert server.waits(flight, 1.5)  # the second has waited for less than it was expected to
    assert not server.waits(flight)
    server.answers(later)
    assert server.waits(flight)


@pytest.mark.parametrize(
    ("times", "benchmark", "rate"),
    [
        (SHORT, 0.1, 0.1),
        (Times(0.8), 1.0, 0.1),
        (WIDE, None, 1.0),
        (WIDE, 1.0, 0.1),
        (MIXED, 1.0, 1.0),
        (MIXED, 0.1, 0.1),
        (Times(0.5, 0.03), None, 0.1),
    ],
)
def test_hardly_a_healthy_request_is_given_up(times: Times, benchmark: float | None, rate: float) -> None:
    """The bound is wide while there are few requests. A benchmark may be ten times too low."""
    world = World(times, rate, 1, benchmark=benchmark).run(400)
    given_up = sum(one.answered >= LEARNED for one in world.given_up)
    assert given_up / (world.answered - LEARNED) < 0.0125


def test_nor_where_the_slo_is_missed_anyway() -> None:
    world = World(Times(0.8), 1.0, 3, slo=Slo(ttft_s=0.5)).run(300)
    assert sum(one.answered >= LEARNED for one in world.given_up) <= 2


def test_who_stalls_is_given_up_as_soon_as_ever_but_for_one_in_eight() -> None:
    world = World(SHORT, 1.0, 4, stalls=0.05).run(600)
    waited_s = sorted(one.waited_s for one in world.given_up if one.is_stalled and one.answered >= LEARNED)
    assert len(waited_s) > 15
    assert waited_s[round(0.7 * len(waited_s))] < 4
    assert waited_s[-1] < 20


def test_the_first_who_meet_a_hang_are_not_waited_for() -> None:
    world = World(SHORT, 5.0, 5, hangs_s=50.0).run(300)
    victims = [one.waited_s for one in world.given_up if one.is_stalled]
    assert len(victims) > 2
    assert min(victims) < 3.5
