"""Live traffic: how the agent reads it, when it leaves a deployment to it, and how long it did not measure."""

from __future__ import annotations

import json

import pytest

from slo_bench.errors import StoppedError
from slo_bench.guard.held import Pause
from slo_bench.guard.watch import in_flight, live


def test_the_workers_counts_are_added_and_nonsense_is_left_out() -> None:
    one = json.dumps({"a": {"in_flight": 3, "circuit": None}, "b": {"in_flight": 1.5}})
    bad = json.dumps({"a": {"in_flight": -1}, "b": {"in_flight": "9"}, "c": 4, "d": {"in_flight": 1e9}})
    assert in_flight([one, one, bad, "None", "[1]", "{"]) == {"a": 6.0, "b": 3.0}


@pytest.mark.parametrize(
    ("shared", "reported", "own", "server_told", "expected"),
    [
        (5.0, None, 4, False, 5.0),  # the agent's requests are in no worker's count
        (5.0, None, 4, True, 1.0),  # but they are in the server's count, which a worker asked
        (2.0, 9.0, 4, True, 5.0),  # the server also counts other clients
        (3.0, 1.0, 4, True, 0.0),
    ],
)
def test_the_agents_own_requests_are_taken_off(
    shared: float, reported: float | None, own: int, *, server_told: bool, expected: float
) -> None:
    assert live(shared, reported, own, server_told=server_told) == expected


def test_a_pause_counts_from_when_nothing_is_on_its_way() -> None:
    pause = Pause(above=8, most_s=600.0)
    pause.sent()
    pause.heard(37, 10.0)
    assert pause.is_closed
    assert pause.paused_s(12.0) == 0.0
    pause.ended(13.0)
    assert pause.paused_s(15.0) == 2.0
    pause.heard(8, 20.0)
    assert not pause.is_closed
    assert pause.paused_s(30.0) == 7.0
    pause.heard(9, 40.0)  # nothing in flight: at once
    assert pause.paused_s(41.0) == 8.0


def test_pauses_are_bounded_in_all() -> None:
    pause = Pause(above=8, most_s=60.0)
    pause.heard(9, 0.0)
    pause.heard(0, 40.0)
    pause.check(100.0)
    pause.heard(9, 100.0)
    pause.check(119.0)
    with pytest.raises(StoppedError, match="more than 8 live requests for 1 min, 9 now"):
        pause.check(120.0)
