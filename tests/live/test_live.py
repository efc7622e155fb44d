"""A worker's live state: load from pick to end, curves from what was seen, circuits, and one picture with others."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Limits
from slo_router.latency.curve import ttft_s
from slo_router.latency.evidence import Prior
from slo_router.live.circuit import CLOSED, is_suspected, share
from slo_router.live.lateness import OVERDUE_FLIGHTS
from slo_router.live.live import Live
from slo_router.live.picture import Said
from slo_router.live.probes import probe_ended, probes_due
from slo_router.live.state import ALIKE, LAST_WORD_S, LEASE_S, LONGEST_WORD_S, Flight
from slo_router.worker.sharing import read_export
from tests.shared.builders import NOW_S, absorb, told_by

PRIORS = {"a": Prior(ttft_s=0.2, tpot_s=0.02, ttft_p95_s=0.3, tpot_p95_s=0.03)}


def serve(live: Live, requests: int, ttft_s: float, at_s: float = NOW_S) -> None:
    """Answers a second apart, of 11 tokens and 10 ms a token."""
    for number in range(requests):
        flight = live.dispatched("a", at_s + number)
        end = {"prompt_tokens": 100, "output_tokens": 11, "ttft_s": ttft_s, "e2e_s": ttft_s + 0.1}
        live.finished(flight, "success", at_s + number, **end)  # type: ignore[arg-type]


def test_all_that_a_worker_publishes_of_a_deployment_is_read_by_the_others() -> None:
    one, other = Live(), Live()
    serve(one, 3, ttft_s=0.3)
    for live in (one, other):
        live.can_ask = lambda _: True
        live.find("a", {("errors", "ner"): NOW_S - 60})
    probe_ended(one.states, "a", NOW_S, NOW_S + 1, "answers")
    one.prove("a", "errors", "ner", is_good=True)
    one.allow("a", Limits(rpm=60))
    one.turned_away("a", 12, NOW_S)
    one.would_leave("a", 0.001, 2.0, NOW_S)
    said = told_by(one, NOW_S + 3)
    assert json.loads(bytes(said["a"])).keys() == Said.__annotations__.keys()
    absorb(other, [said], PRIORS, NOW_S + 3)
    assert other.states["a"].answered_at_s == one.states["a"].answered_at_s
    assert other.states["a"].proofs_elsewhere == one.states["a"].proofs
    assert other.states["a"].vouched_s == NOW_S - 60
    assert other.states["a"].scarcity_elsewhere == [one.states["a"].scarcity]


@pytest.mark.parametrize("ending", ["success", "error", "disconnected", "released"])
def test_load_rises_at_the_pick_and_falls_once_however_it_ends(ending: str) -> None:
    live = Live()
    first, second = live.dispatched("a", NOW_S), live.dispatched("a", NOW_S)
    assert (first.in_flight, second.in_flight, live.in_flight("a")) == (0, 1, 2)
    live.finished(first, ending, NOW_S + 1)  # type: ignore[arg-type]
    live.finished(first, ending, NOW_S + 1)  # type: ignore[arg-type]  # an event that came twice
    assert live.in_flight("a") == 1


def test_a_flight_whose_end_nobody_reports_is_forgotten_when_its_lease_ends() -> None:
    live = Live()
    lost = live.dispatched("a", NOW_S)
    absorb(live, [], PRIORS, NOW_S + LEASE_S)
    assert live.in_flight("a") == 1
    absorb(live, [], PRIORS, NOW_S + LEASE_S + 1)
    assert live.in_flight("a") == 0
    live.finished(lost, "success", NOW_S + LEASE_S + 2, prompt_tokens=1, ttft_s=1.0, e2e_s=1.0)
    assert live.in_flight("a") == 0


def test_without_live_samples_the_curve_is_the_benchmark() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    curve = live.states["a"].curve
    assert curve is not None
    assert (curve.a_s, curve.d_s, curve.weight) == (pytest.approx(0.2), pytest.approx(0.02), 0)


def test_what_was_served_moves_the_curve() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    serve(live, 60, ttft_s=1.0)
    absorb(live, [], PRIORS, NOW_S + 60)
    curve = live.states["a"].curve
    assert curve is not None
    assert curve.a_s + 100 * curve.b_s_per_token == pytest.approx(1.0, rel=0.25)
    assert curve.d_s == pytest.approx(0.01, rel=0.25)


def test_workers_that_heard_of_each_other_have_the_same_curve_as_one_that_saw_everything() -> None:
    one, two, observer = Live(), Live(), Live()
    for number in range(40):
        at_s, ttft_s = NOW_S + number, 0.2 + 0.01 * (number % 7)
        for live in (observer, one if number % 2 else two):
            flight = live.dispatched("a", at_s)
            live.finished(flight, "success", at_s, prompt_tokens=50, output_tokens=9, ttft_s=ttft_s, e2e_s=ttft_s + 0.2)
    later_s = NOW_S + 41
    from_one, from_two = told_by(one), told_by(two)
    absorb(one, [from_two], PRIORS, later_s)
    absorb(two, [from_one], PRIORS, later_s)
    absorb(observer, [], PRIORS, later_s)
    expected = observer.states["a"].curve
    assert expected is not None
    for live in (one, two):
        curve = live.states["a"].curve
        assert curve is not None
        assert curve[:5] == pytest.approx(expected[:5], rel=1e-6, abs=1e-9)


def test_the_others_load_counts_until_they_fall_silent() -> None:
    live, other = Live(), Live()
    for _ in range(3):
        other.dispatched("a", NOW_S)
    live.dispatched("a", NOW_S)
    absorb(live, [told_by(other)], PRIORS, NOW_S)
    assert live.in_flight("a") == 4
    absorb(live, [], PRIORS, NOW_S)
    assert live.in_flight("a") == 1


def test_between_two_reports_the_others_load_is_taken_to_change_as_the_workers_own() -> None:
    live, other = Live(), Live()
    for _ in range(4):
        other.dispatched("a", NOW_S)
    first = live.dispatched("a", NOW_S)
    absorb(live, [told_by(other)], PRIORS, NOW_S)
    assert live.in_flight("a") == 5
    for _ in range(10):
        live.dispatched("a", NOW_S + 0.5)
    assert live.in_flight("a") == pytest.approx(11 + 4 + ALIKE * 10)
    live.finished(first, "released", NOW_S + 0.6)
    absorb(live, [told_by(other)], PRIORS, NOW_S + 1)
    assert live.in_flight("a") == 10 + 4
    absorb(live, [], PRIORS, NOW_S + 2)  # nobody else is left
    live.dispatched("a", NOW_S + 2)
    assert live.in_flight("a") == 11


def test_what_the_server_reports_beyond_our_own_requests_counts_and_is_passed_on() -> None:
    live, other = Live(), Live()
    live.dispatched("a", NOW_S)
    live.heard_of_foreign("a", 5)
    assert (live.in_flight("a"), live.state("a").in_flight_by_proxy) == (6, 1)
    absorb(other, [told_by(live)], PRIORS, NOW_S)
    assert other.in_flight("a") == 6


def test_three_errors_open_the_circuit_here_and_at_once_at_those_who_hear_of_it() -> None:
    live, other = Live(), Live()
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    assert share(live.states["a"].circuit, NOW_S) == 0
    absorb(other, [told_by(live)], PRIORS, NOW_S + 0.5)
    assert share(other.states["a"].circuit, NOW_S + 0.5) == 0
    assert share(other.states["a"].circuit, NOW_S + 1.5) == 0  # who saw it fail probes first
    assert share(other.states["a"].circuit, NOW_S + 2.5) == 1


def test_three_that_were_given_up_open_the_circuit_and_a_very_late_one_tells_that_it_is_slow() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    usual = live.states["a"].curve
    for number in range(3):
        flight = live.dispatched("a", NOW_S + number, expected_s=0.2)
        live.finished(flight, "silent", NOW_S + number + 2.0)  # ten times what was expected
    assert share(live.states["a"].circuit, NOW_S + 4.0) == 0
    absorb(live, [], PRIORS, NOW_S + 4.0)
    slower = live.states["a"].curve
    assert usual is not None
    assert slower is not None
    assert slower.ttft_level > 5 * usual.ttft_level


def test_while_one_worker_probes_the_others_wait_for_what_it_finds() -> None:
    live, other = Live(), Live()
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    absorb(other, [told_by(live)], PRIORS, NOW_S)
    probe = live.dispatched("a", NOW_S + 1.5)
    absorb(other, [told_by(live)], PRIORS, NOW_S + 2)
    assert share(other.states["a"].circuit, NOW_S + 3) == 0  # without the probe it would pass one now
    live.finished(probe, "success", NOW_S + 3, prompt_tokens=1, ttft_s=0.1, e2e_s=1.5)
    absorb(other, [told_by(live)], PRIORS, NOW_S + 3)
    assert 0 < share(other.states["a"].circuit, NOW_S + 3) < 1


def test_a_failure_of_before_is_no_failed_probe() -> None:
    live = Live()
    before = live.dispatched("a", NOW_S)
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    probe = live.dispatched("a", NOW_S + 2)
    live.finished(before, "error", NOW_S + 2.1)
    assert live.states["a"].circuit.pause_s == 1
    live.finished(probe, "error", NOW_S + 2.2)
    assert live.states["a"].circuit.pause_s == 2


def test_a_request_through_an_open_circuit_is_its_probe() -> None:
    live = Live()
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    probe = live.dispatched("a", NOW_S + 2)
    assert share(live.states["a"].circuit, NOW_S + 2) == 0
    live.finished(probe, "success", NOW_S + 2.5, prompt_tokens=1, ttft_s=0.1, e2e_s=0.5)
    assert 0 < share(live.states["a"].circuit, NOW_S + 2.5) < 1


def test_a_probe_of_the_plugins_own_closes_the_circuit_and_is_no_load() -> None:
    live = Live()
    assert probes_due(live.states, NOW_S) == []
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    assert probes_due(live.states, NOW_S + 0.7, leave_out={"a"}) == []
    assert probes_due(live.states, NOW_S + 0.7) == ["a"]
    assert probes_due(live.states, NOW_S + 0.8) == []
    assert live.in_flight("a") == 0
    probe_ended(live.states, "a", NOW_S + 0.7, NOW_S + 1.5, "answers")
    assert 0 < share(live.states["a"].circuit, NOW_S + 1.5) < 1


def test_a_probe_that_fails_doubles_the_pause_and_one_that_tells_nothing_leaves_it_to_a_request() -> None:
    live = Live()
    for _ in range(3):
        live.finished(live.dispatched("a", NOW_S), "error", NOW_S)
    probes_due(live.states, NOW_S + 0.7)
    probe_ended(live.states, "a", NOW_S + 0.7, NOW_S + 0.8, "unclear")
    assert share(live.states["a"].circuit, NOW_S + 1) == 1
    probes_due(live.states, NOW_S + 1)
    probe_ended(live.states, "a", NOW_S + 1, NOW_S + 1.1, "fails")
    assert live.states["a"].circuit.pause_s == 2
    probe_ended(live.states, "forgotten", NOW_S, NOW_S, "answers")
    assert "forgotten" not in live.states


def test_requests_that_still_hang_somewhere_do_not_reopen_the_circuit_of_what_answers_again() -> None:
    live, other = Live(), Live()
    for _ in range(OVERDUE_FLIGHTS):
        live.dispatched("a", NOW_S, expected_s=0.5)
        other.dispatched("a", NOW_S, expected_s=0.5)
    for one, heard_of in ((live, other), (other, live)):
        absorb(one, [told_by(heard_of)], PRIORS, NOW_S + 2)
    assert probes_due(live.states, NOW_S + 3) == ["a"]
    probe_ended(live.states, "a", NOW_S + 3, NOW_S + 3.1, "answers")
    for now_s in (NOW_S + 3.5, NOW_S + 4.5, NOW_S + 5.5, NOW_S + 6.5):
        absorb(live, [told_by(other, now_s)], PRIORS, now_s)
        absorb(other, [told_by(live, now_s)], PRIORS, now_s)
        assert not live.states["a"].circuit.is_open
        assert not other.states["a"].circuit.is_open
    assert live.states["a"].curve == live.states["a"].fitted  # nor do they make it slow


def test_a_deployment_that_takes_requests_and_answers_none_is_found_out_before_they_time_out() -> None:
    live = Live()
    for _ in range(OVERDUE_FLIGHTS):
        live.dispatched("a", NOW_S, expected_s=0.5)  # overdue after 1.5 × 0.5 + 0.5 s
    absorb(live, [], PRIORS, NOW_S + 1.2)
    assert share(live.states["a"].circuit, NOW_S + 1.2) == 1
    absorb(live, [], PRIORS, NOW_S + 1.3)
    assert share(live.states["a"].circuit, NOW_S + 1.3) == 0


def test_what_seems_to_hang_gets_a_request_each_second_and_fails_where_it_leaves_two_of_those_too() -> None:
    live = Live()
    for _ in range(OVERDUE_FLIGHTS):
        live.dispatched("a", NOW_S, expected_s=0.1)  # overdue after 0.65 s
    live.watch(NOW_S + 0.7)
    assert is_suspected(live.states["a"].circuit)
    for number in (1, 2):
        at_s = NOW_S + 0.7 + number
        assert share(live.states["a"].circuit, at_s) == 1
        live.dispatched("a", at_s, expected_s=0.1)
        assert share(live.states["a"].circuit, at_s + 0.1) == 0
        live.watch(at_s + 0.9)
        assert is_suspected(live.states["a"].circuit) is (number == 1)


@pytest.mark.parametrize("told", ["first token", "answer", "another worker"])
def test_any_sign_of_life_ends_a_suspicion(told: str) -> None:
    live, other = Live(), Live()
    flights = [live.dispatched("a", NOW_S, expected_s=0.1) for _ in range(OVERDUE_FLIGHTS)]
    live.watch(NOW_S + 0.7)
    if told == "first token":
        live.first_token(flights[0], NOW_S + 0.8, prompt_tokens=1, ttft_s=0.8)
    elif told == "answer":
        live.finished(flights[0], "success", NOW_S + 0.8)
    else:
        other.finished(other.dispatched("a", NOW_S), "success", NOW_S + 0.8)
        absorb(live, [told_by(other)], PRIORS, NOW_S + 1)
    assert live.states["a"].circuit == CLOSED


def test_nobody_hangs_of_whom_nothing_is_expected() -> None:
    live = Live()
    for _ in range(OVERDUE_FLIGHTS):
        live.dispatched("a", NOW_S)
    live.watch(NOW_S + LEASE_S + 1)
    assert live.states["a"].circuit == CLOSED


def test_clients_that_give_up_waiting_tell_of_a_hang_as_those_do_that_wait() -> None:
    live = Live()
    for number in range(OVERDUE_FLIGHTS):
        flight = live.dispatched("a", NOW_S + number, expected_s=0.5)
        live.ended(flight, "disconnected", NOW_S + number + 1.3)
    assert live.in_flight("a") == 0
    live.watch(NOW_S + 4)
    assert is_suspected(live.states["a"].circuit)


@pytest.mark.parametrize("waited_s", [0.9, 1.3])
def test_clients_that_leave_in_time_or_before_an_answer_to_a_later_request_tell_of_no_hang(waited_s: float) -> None:
    live = Live()
    for number in range(OVERDUE_FLIGHTS):
        flight = live.dispatched("a", NOW_S + number, expected_s=0.5)
        live.ended(flight, "disconnected", NOW_S + number + waited_s)
    answered = live.dispatched("a", NOW_S + 3, expected_s=0.5)
    live.first_token(answered, NOW_S + 3.4, prompt_tokens=1, ttft_s=0.4)
    live.watch(NOW_S + 4)
    assert live.states["a"].circuit == CLOSED


def test_what_clients_that_gave_up_told_of_a_hang_lapses() -> None:
    live = Live()
    for number in range(OVERDUE_FLIGHTS):
        flight = live.dispatched("a", NOW_S + number, expected_s=0.5)
        live.ended(flight, "disconnected", NOW_S + number + 1.3)
    live.watch(NOW_S + LEASE_S)
    assert live.states["a"].circuit == CLOSED


def test_a_client_that_gave_up_after_long_tells_that_the_deployment_is_slow() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    assert predicted_s(live) == pytest.approx(0.2)
    flight = live.dispatched("a", NOW_S, expected_s=0.3)
    live.ended(flight, "disconnected", NOW_S + 1.2)  # four times its time, and nothing came
    live.watch(NOW_S + 1.3)
    assert predicted_s(live) == pytest.approx(0.8)


def test_a_first_token_teaches_the_ttft_at_once_and_counts_once() -> None:
    live = Live()
    for number in range(20):
        at_s = NOW_S + number
        flight = live.dispatched("a", at_s)
        for _ in range(2):  # a report that came twice
            live.first_token(flight, at_s + 0.8, prompt_tokens=100, ttft_s=0.8)
    evidence, until_s = live.states["a"].evidence, at_s + 0.8
    counted = sum(0.5 ** (age_s / 60) for age_s in range(20))
    assert evidence.faded(until_s - (evidence.at_s or 0))[0][0].count == pytest.approx(counted)
    assert live.in_flight("a") == 20  # the answers go on
    live.finished(flight, "success", at_s + 1.8, prompt_tokens=100, output_tokens=11, ttft_s=0.8, e2e_s=1.8)
    ttft, tpot = evidence.faded(at_s + 1.8 - (evidence.at_s or 0))
    assert ttft[0].count == pytest.approx(counted * 0.5 ** (1 / 60))
    assert tpot[0].count == pytest.approx(1)


def test_a_deployment_that_streams_for_long_does_not_hang() -> None:
    live = Live()
    flights = [live.dispatched("a", NOW_S, expected_s=0.5) for _ in range(OVERDUE_FLIGHTS)]
    for flight in flights:
        live.first_token(flight, NOW_S + 0.4, prompt_tokens=1, ttft_s=0.4)
    absorb(live, [], PRIORS, NOW_S + 60)
    assert share(live.states["a"].circuit, NOW_S + 60) == 1


def test_what_was_measured_while_the_process_stood_still_teaches_nothing() -> None:
    live = Live()
    live.stalled(NOW_S + 0.1, NOW_S + 0.9)
    first, other = live.dispatched("a", NOW_S), live.dispatched("a", NOW_S + 0.95)
    live.first_token(first, NOW_S + 1.0, prompt_tokens=1, ttft_s=1.0)
    assert live.states["a"].evidence.ttft[0].count == 0
    live.first_token(other, NOW_S + 1.05, prompt_tokens=1, ttft_s=0.1)
    assert live.states["a"].evidence.ttft[0].count == 1
    long = {"prompt_tokens": 1, "output_tokens": 101, "ttft_s": 1.0, "e2e_s": 11.0}
    live.finished(first, "success", NOW_S + 11, **long)  # type: ignore[arg-type]  # 0.8 of 11 s are no matter
    assert live.states["a"].evidence.tpot[0].count == 1


def test_a_request_that_waits_for_long_tells_of_the_slowdown_before_its_first_token_does() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    assert predicted_s(live) == pytest.approx(0.2)
    flight = live.dispatched("a", NOW_S, expected_s=0.3)
    live.watch(NOW_S + 0.4)  # 1.3 times what was expected: as it may happen
    assert predicted_s(live) == pytest.approx(0.2)
    live.watch(NOW_S + 0.9)
    assert predicted_s(live) == pytest.approx(0.6)  # three times its time
    quick = live.dispatched("a", NOW_S + 0.9, expected_s=0.9)
    live.first_token(quick, NOW_S + 1.1, prompt_tokens=1, ttft_s=0.2)
    live.watch(NOW_S + 1.2)  # a later one was answered: the first is an exception
    assert predicted_s(live) == pytest.approx(0.2, rel=0.2)
    live.finished(flight, "released", NOW_S + 1.3)


def test_the_latest_answer_has_the_last_word_on_a_deployment_until_a_newer_one_or_its_time_is_over() -> None:
    live, other = Live(), Live()
    absorb(live, [], PRIORS, NOW_S)
    serve(live, 20, ttft_s=0.2, at_s=NOW_S)
    absorb(live, [], PRIORS, now_s := NOW_S + 20)
    assert predicted_s(live) == pytest.approx(0.2, rel=0.1)
    late = live.dispatched("a", now_s, expected_s=0.3)
    live.first_token(late, now_s + 1.2, prompt_tokens=1, ttft_s=1.2)
    for worker, others in ((live, []), (other, [told_by(live)])):
        absorb(worker, others, PRIORS, now_s + 2)  # the fit alone believes less: it is one of many
        assert predicted_s(worker) == pytest.approx(4 * 0.2, rel=0.25)
    live.watch(now_s + 4 * LAST_WORD_S - 0.1)
    assert predicted_s(live) == pytest.approx(4 * 0.2, rel=0.25)
    absorb(live, [], PRIORS, now_s + 4 * LAST_WORD_S)
    assert predicted_s(live) < 0.3
    earlier = live.dispatched("a", now_s - 1, expected_s=0.3)
    live.first_token(earlier, now_s + 20.0, prompt_tokens=1, ttft_s=21.0)  # a straggler says nothing new
    absorb(live, [], PRIORS, now_s + 21)
    assert predicted_s(live) < 0.3


def test_the_last_word_of_a_worker_whose_clock_is_ahead_counts() -> None:
    ahead, other = Live(), Live()
    serve(ahead, 20, ttft_s=0.2, at_s=NOW_S)
    absorb(ahead, [], PRIORS, now_s := NOW_S + 20)
    late = ahead.dispatched("a", now_s, expected_s=0.3)
    ahead.first_token(late, now_s + 1.2, prompt_tokens=1, ttft_s=1.2)
    absorb(other, [told_by(ahead, now_s + 2)], PRIORS, now_s - 2)
    assert predicted_s(other) == pytest.approx(4 * 0.2, rel=0.25)


def test_each_time_that_it_is_still_slow_the_last_word_counts_twice_as_long_and_a_quick_answer_ends_that() -> None:
    live = Live()
    serve(live, 20, ttft_s=0.2, at_s=NOW_S)
    absorb(live, [], PRIORS, now_s := NOW_S + 20)
    state = live.states["a"]

    def lasts_s(ttft_s: float) -> float:
        nonlocal now_s
        flight = live.dispatched("a", now_s, expected_s=0.3)
        same = live.dispatched("a", now_s + 0.1, expected_s=0.3)  # on its way before anybody knew
        for one in (flight, same):
            live.first_token(one, one.at_s + ttft_s, prompt_tokens=1, ttft_s=ttft_s)
        begun_s = now_s
        while state.last_word.level_at(now_s):
            now_s += 0.5
        return now_s - begun_s

    found = [lasts_s(1.2) for _ in range(5)]  # 4 times the expected 0.3 s
    first_s = 4 * LAST_WORD_S
    assert found == pytest.approx([first_s, 2 * first_s, 4 * first_s, LONGEST_WORD_S, LONGEST_WORD_S], abs=0.7)
    assert lasts_s(0.2) == 0
    assert lasts_s(1.2) == pytest.approx(first_s, abs=0.7)


def test_who_waited_in_a_queue_says_nothing_of_the_time_when_it_is_gone() -> None:
    """Else a deployment that is half empty gets nothing for as long as the queue's last answer counts."""
    live, other = Live(), Live()
    serve(live, 20, ttft_s=0.2, at_s=NOW_S)
    absorb(live, [], PRIORS, now_s := NOW_S + 20)
    alone_s = predicted_s(live)
    queue = [live.dispatched("a", now_s, expected_s=0.3) for _ in range(10)]
    late = live.dispatched("a", now_s, expected_s=0.3)
    for flight in (*queue, late):
        live.first_token(flight, now_s + 1.2, prompt_tokens=1, ttft_s=1.2)
    live.watch(now_s + 1.3)
    assert predicted_s(live) > 3 * alone_s
    for flight in (*queue[:4], late):
        live.finished(flight, "released", now_s + 1.4)
    live.watch(now_s + 1.4)  # six are left of the ten that it met
    assert predicted_s(live) == pytest.approx(alone_s, rel=0.2)
    absorb(other, [told_by(live)], PRIORS, now_s + 1.5)
    assert predicted_s(other) < 2 * alone_s  # its line for six in flight rises with what it heard


def test_one_answer_must_be_very_late_to_be_believed_and_then_a_late_one_confirms_it() -> None:
    live = Live()
    serve(live, 20, ttft_s=0.2, at_s=NOW_S)
    absorb(live, [], PRIORS, now_s := NOW_S + 20)
    state = live.states["a"]

    def answer(at_s: float, ttft_s: float) -> bool:
        expected_s = 0.3 * (1.0 if state.curve is None else state.curve.ttft_level)
        flight = live.dispatched("a", at_s, expected_s)
        live.first_token(flight, at_s + ttft_s, prompt_tokens=1, ttft_s=ttft_s)
        live.watch(at_s + ttft_s)
        return state.curve is not state.fitted

    assert not answer(now_s, 0.6)  # twice its time: an odd one among twenty
    assert answer(now_s + 1, 1.2)
    assert answer(now_s + 3, 0.6)
    assert not answer(now_s + 4, 0.2)
    assert not answer(now_s + 5, 0.6)


def test_a_trial_that_takes_as_long_as_it_is_slow_does_not_clear_a_deployment_and_a_quick_one_does() -> None:
    live = Live()
    absorb(live, [], PRIORS, NOW_S)
    for at_s in (NOW_S, NOW_S + 6):
        curve = live.states["a"].curve
        expected_s = 0.3 * (1.0 if curve is None else curve.ttft_level)
        live.first_token(live.dispatched("a", at_s, expected_s), at_s + 1.2, prompt_tokens=1, ttft_s=1.2)
        absorb(live, [], PRIORS, at_s + 2)
        assert predicted_s(live) > 0.5
    curve = live.states["a"].curve
    assert curve is not None
    trial = live.dispatched("a", NOW_S + 12, expected_s=0.3 * curve.ttft_level)
    live.first_token(trial, NOW_S + 12.2, prompt_tokens=1, ttft_s=0.2)
    live.watch(NOW_S + 13)
    state = live.states["a"]
    assert state.curve is state.fitted  # the last word is that it is quick; what the fit makes of all is its own


def predicted_s(live: Live) -> float:
    curve = live.states["a"].curve
    assert curve is not None
    return ttft_s(curve, 0, 0)


def test_slow_is_not_dead() -> None:
    live = Live()
    for _ in range(OVERDUE_FLIGHTS + 1):
        flight = live.dispatched("a", NOW_S, expected_s=0.5)
    live.finished(flight, "success", NOW_S + 30, prompt_tokens=1, ttft_s=29.0, e2e_s=30.0)
    absorb(live, [], PRIORS, NOW_S + 31)
    assert share(live.states["a"].circuit, NOW_S + 31) == 1


def test_a_deployment_that_was_removed_is_forgotten() -> None:
    live = Live()
    live.dispatched("a", NOW_S)
    live.forget(["b"])
    assert live.states == {}


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b"]),
            st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(Said.__annotations__, _ANYTHING),
            )
            | _ANYTHING,
        ),
        max_size=3,
    )
)
def test_whatever_another_writes_the_state_stays_usable(exports: list[dict[str, object]]) -> None:
    live = Live()
    serve(live, 3, ttft_s=0.3)
    read = [export for said in exports if (export := read_export(json.dumps(said))) is not None]
    absorb(live, read, PRIORS, NOW_S + 4)
    for state in live.states.values():
        assert 0 <= state.in_flight < math.inf
        assert 0 <= share(state.circuit, NOW_S + 4) <= 1
    curve = live.states["a"].curve
    assert curve is not None
    assert all(map(math.isfinite, curve[:5]))


@given(st.integers(0, 2**32))
def test_events_lost_doubled_reordered_and_under_jumping_clocks_leave_no_negative_load(seed: int) -> None:
    rng, live = random.Random(seed), Live()
    flights: list[Flight] = []
    for _ in range(60):
        now_s = NOW_S + rng.uniform(-1000, 1000)
        if rng.random() < 0.5 or not flights:
            flights.append(live.dispatched("a", now_s, rng.choice([None, 0.1, 5.0])))
        elif rng.random() < 0.8:
            ending = rng.choice(["success", "error", "disconnected", "released"])
            ttft_s, e2e_s = rng.choice([None, -1.0, 0.0, 0.3, 1e9]), rng.choice([None, -1.0, 0.5, math.inf])
            end = {"prompt_tokens": rng.randrange(9), "output_tokens": 5, "ttft_s": ttft_s, "e2e_s": e2e_s}
            live.finished(rng.choice(flights), ending, now_s, **end)  # type: ignore[arg-type]
        else:
            absorb(live, [told_by(live)], PRIORS, now_s)
    absorb(live, [], PRIORS, NOW_S + 10_000)
    assert live.in_flight("a") == 0
    curve = live.states["a"].curve
    assert curve is not None
    assert all(math.isfinite(value) and value >= 0 for value in curve[:5])
