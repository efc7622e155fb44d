"""A silent deployment is suspected at once if it answered no other request. The worker's own pauses excuse it."""

from __future__ import annotations

from collections import deque

import pytest

from slo_router.latency.curve import Curve
from slo_router.live.circuit import PROBE_S, is_suspected, share
from slo_router.live.lateness import OUT_S, READ_S, held_up_s
from slo_router.live.live import Live
from slo_router.live.probes import probes_due
from slo_router.live.state import QUEUE
from tests.shared.builders import NOW_S


def first_token(live: Live, sent_s: float, at_s: float) -> None:
    live.first_token(live.dispatched("a", sent_s), at_s, prompt_tokens=None, ttft_s=at_s - sent_s)


def silent(live: Live, sent_s: float, *, sent_before: int = 0) -> None:
    """Sends a request that stays silent, with `sent_before` other requests in flight."""
    for _ in range(sent_before):
        live.dispatched("a", sent_s)
    live.finished(live.dispatched("a", sent_s), "silent", sent_s + 1)


def test_no_more_requests_meet_one_that_answers_nobody_and_a_second_silence_is_a_failure() -> None:
    live, rung = Live(), list[str]()
    live.ask_soon, live.tell_soon = (lambda: rung.append("ask")), (lambda: rung.append("tell"))
    first_token(live, NOW_S, NOW_S + 0.3)  # before the deployment hung
    second = live.dispatched("a", NOW_S + 0.2)
    silent(live, NOW_S + 0.1)
    circuit = live.states["a"].circuit
    assert is_suspected(circuit)
    assert share(circuit, NOW_S + 1.2) == 0
    assert rung == ["ask", "tell"]
    live.finished(second, "silent", NOW_S + 1.2)
    circuit = live.states["a"].circuit
    assert circuit.is_open
    assert not is_suspected(circuit)


def test_while_a_health_check_waits_no_request_has_to_find_out() -> None:
    live = Live()
    second = live.dispatched("a", NOW_S)
    silent(live, NOW_S)
    assert probes_due(live.states, NOW_S + 1) == ["a"]
    live.finished(second, "silent", NOW_S + 1.2)
    assert share(live.states["a"].circuit, NOW_S + 1 + PROBE_S - 0.1) == 0
    assert share(live.states["a"].circuit, NOW_S + 1 + PROBE_S) == 1


def test_a_curve_that_expects_nothing_at_no_load_judges_lateness_too() -> None:
    live = Live()
    curve = Curve(0.0, 0.0, 0.5, 0.01, 0.0, (1.0,) * 12, (1.0,) * 12, weight=9.0)
    live.state("a").fitted = live.state("a").curve = curve
    live.first_token(live.dispatched("a", NOW_S, 0.1), NOW_S + 1, prompt_tokens=0, ttft_s=1.0)
    live.watch(NOW_S + 1)
    assert live.states["a"].last_word.level > 1


def test_any_answer_ends_the_suspicion() -> None:
    live = Live()
    other = live.dispatched("a", NOW_S - 5)
    silent(live, NOW_S)
    live.first_token(other, NOW_S + 1.5, prompt_tokens=None, ttft_s=6.5)
    assert share(live.states["a"].circuit, NOW_S + 1.5) == 1


def test_one_that_answered_somebody_who_was_sent_later_only_stalled() -> None:
    live = Live()
    flight = live.dispatched("a", NOW_S)
    first_token(live, NOW_S + 0.1, NOW_S + 0.3)
    live.finished(flight, "silent", NOW_S + 1)
    assert not live.states["a"].circuit.is_open


@pytest.mark.parametrize(("before", "is_open"), [(QUEUE - 1, True), (QUEUE, False)])
def test_one_with_a_queue_is_busy_as_long_as_it_answers_anybody(before: int, is_open: bool) -> None:
    live = Live()
    first_token(live, NOW_S - 1, NOW_S + 0.5)
    live.finished(next(iter(live.states["a"].flights.values())), "success", NOW_S + 0.5)
    silent(live, NOW_S, sent_before=before)
    assert live.states["a"].circuit.is_open is is_open
    silent(live, NOW_S + 1, sent_before=before)
    assert live.states["a"].circuit.is_open


def test_a_pause_of_this_process_excuses_one_as_long_as_the_call_was_not_out() -> None:
    before, while_sending, later = (NOW_S - 2, NOW_S - 1), (NOW_S + 0.05, NOW_S + 0.45), (NOW_S + 1, NOW_S + 3)
    assert held_up_s(deque([before]), NOW_S, NOW_S + 5) == 0
    assert held_up_s(deque([before, while_sending]), NOW_S, NOW_S + 5) == pytest.approx(0.4)
    assert held_up_s(deque([(NOW_S - 1, NOW_S + 0.5)]), NOW_S, NOW_S + 5) == pytest.approx(0.5)
    assert held_up_s(deque([before, later]), NOW_S, NOW_S + 5) == pytest.approx(READ_S)
    assert held_up_s(deque([while_sending, later]), NOW_S, NOW_S + 5) == pytest.approx(0.4 + READ_S)
    assert held_up_s(deque([(NOW_S + OUT_S, NOW_S + OUT_S + 0.01)]), NOW_S, NOW_S + 5) == pytest.approx(0.01)
