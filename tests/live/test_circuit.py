"""The breaker keeps traffic off a failing deployment within three requests, and lets it back in steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.live.circuit import (
    CLOSED,
    FIRST_PAUSE_S,
    FIRST_SHARE,
    LONGEST_PAUSE_S,
    PROBE_EARLY_S,
    PROBE_S,
    RAMP_S,
    REQUEST_EVERY,
    SUSPECT_S,
    Circuit,
    failed,
    is_probe_due,
    is_suspected,
    latest,
    probed,
    share,
    succeeded,
    suspected,
)

NOW_S = 1_800_000_000.0


def opened(at_s: float = NOW_S) -> Circuit:
    return failed(failed(failed(CLOSED, at_s), at_s), at_s)


def test_two_failures_in_a_row_leave_it_closed_and_the_third_opens_it() -> None:
    two = failed(failed(CLOSED, NOW_S), NOW_S)
    assert share(two, NOW_S) == 1
    assert share(failed(two, NOW_S), NOW_S) == 0


def test_a_success_between_failures_begins_the_count_anew() -> None:
    circuit = CLOSED
    for _ in range(10):
        circuit = succeeded(failed(failed(circuit, NOW_S), NOW_S), NOW_S)
    assert share(circuit, NOW_S) == 1


def test_after_the_pause_one_probe_passes_and_no_second_while_it_is_on_its_way() -> None:
    later_s = NOW_S + FIRST_PAUSE_S
    assert share(opened(), later_s) == 1
    probing = probed(opened(), later_s)
    assert share(probing, later_s + 0.1) == 0
    assert share(probing, later_s + PROBE_S) == 1  # nobody reported its end


def test_the_plugins_own_probe_goes_out_before_a_request_may_and_not_twice() -> None:
    early_s = NOW_S + FIRST_PAUSE_S - PROBE_EARLY_S
    assert not is_probe_due(CLOSED, NOW_S)
    assert not is_probe_due(opened(), early_s - 0.01)
    assert is_probe_due(opened(), early_s)
    assert share(opened(), early_s) == 0
    probing = probed(opened(), early_s)
    assert not is_probe_due(probing, early_s + 1)
    assert share(probing, early_s + PROBE_S - 0.01) == 0
    assert is_probe_due(probing, early_s + PROBE_S)  # the deployment hangs, and so does the probe


def test_after_many_probes_in_vain_a_request_is_one() -> None:
    circuit, now_s, by_request = opened(), NOW_S, 0
    for _ in range(2 * REQUEST_EVERY):
        now_s += circuit.pause_s
        by_request += not is_probe_due(circuit, now_s)
        assert share(circuit, now_s) == 1
        circuit = failed(probed(circuit, now_s), now_s, now_s)
    assert by_request == 2


def test_the_latest_probe_of_any_worker_counts() -> None:
    own, other = probed(opened(), NOW_S + 1), probed(opened(), NOW_S + 12)
    assert latest(own, other, NOW_S + 12).probe_at_s == NOW_S + 12
    assert latest(other, own, NOW_S + 12).probe_at_s == NOW_S + 12
    assert latest(own, probed(opened(), NOW_S + 3600), NOW_S + 12).probe_at_s == NOW_S + 1  # a wrong clock's


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    circuit, pauses_s, now_s = opened(), [], NOW_S
    for _ in range(6):
        pauses_s.append(circuit.pause_s)
        now_s += circuit.pause_s
        circuit = failed(probed(circuit, now_s), now_s, now_s)
    assert pauses_s == [1, 2, 4, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_an_error_of_a_request_sent_before_it_opened_does_not_prolong_the_pause() -> None:
    assert share(failed(opened(), NOW_S + 0.9), NOW_S + FIRST_PAUSE_S) == 1


def test_after_a_good_probe_its_share_grows_to_everything() -> None:
    back = succeeded(probed(opened(), NOW_S + 1), NOW_S + 1)
    assert share(back, NOW_S + 1) == pytest.approx(FIRST_SHARE)
    assert share(back, NOW_S + 1 + RAMP_S / 2) == pytest.approx((1 + FIRST_SHARE) / 2)
    assert share(back, NOW_S + 1 + RAMP_S) == 1


def test_one_failure_on_the_way_back_opens_it_again_with_a_longer_pause() -> None:
    back = succeeded(probed(opened(), NOW_S + 1), NOW_S + 1)
    again = failed(back, NOW_S + 2)
    assert (again.is_open, again.pause_s) == (True, 2 * FIRST_PAUSE_S)


def test_long_after_it_came_back_it_needs_three_failures_again() -> None:
    back = succeeded(probed(opened(), NOW_S + 1), NOW_S + 1)
    assert not failed(back, NOW_S + 100).is_open


def test_a_suspicion_shuts_it_for_a_second_and_then_lets_a_request_through_each_second() -> None:
    doubted = suspected(CLOSED, NOW_S)
    assert is_probe_due(doubted, NOW_S)
    doubted = probed(doubted, NOW_S + 0.25)  # a health check
    assert not is_probe_due(doubted, NOW_S + 0.5)
    assert share(doubted, NOW_S + SUSPECT_S - 0.01) == 0
    assert share(doubted, NOW_S + SUSPECT_S) == 1
    doubted = probed(doubted, NOW_S + SUSPECT_S)
    assert share(doubted, NOW_S + 2 * SUSPECT_S - 0.01) == 0
    assert share(doubted, NOW_S + 2 * SUSPECT_S) == 1


def test_after_a_suspicion_an_answer_opens_it_wholly_and_a_failure_shuts_it() -> None:
    doubted = suspected(CLOSED, NOW_S)
    assert share(succeeded(doubted, NOW_S + 0.1), NOW_S + 0.1) == 1
    shut = failed(doubted, NOW_S + 0.1)
    assert (is_suspected(shut), share(shut, NOW_S + 0.2)) == (False, 0)


def test_a_suspicion_is_each_workers_own_and_on_the_way_back_it_counts_as_a_failure() -> None:
    assert latest(CLOSED, suspected(CLOSED, NOW_S), NOW_S) == CLOSED
    back = succeeded(probed(opened(), NOW_S + 1), NOW_S + 1)
    again = suspected(back, NOW_S + 2)
    assert (is_suspected(again), again.pause_s) == (False, 2 * FIRST_PAUSE_S)


def test_recovery_is_noticed_within_fifteen_seconds() -> None:
    assert LONGEST_PAUSE_S + RAMP_S <= 15


def test_the_latest_change_of_any_worker_wins_and_one_from_the_future_is_ignored() -> None:
    back = succeeded(probed(opened(NOW_S - 9), NOW_S - 5), NOW_S - 4)
    assert latest(CLOSED, opened(), NOW_S).is_open
    assert latest(opened(), CLOSED, NOW_S) == opened()
    assert latest(back, opened(NOW_S - 9), NOW_S) == back
    assert latest(back, opened(NOW_S - 1), NOW_S).changed_at_s == NOW_S - 1
    assert latest(back, opened(NOW_S + 3600), NOW_S) == back


def test_the_worker_that_saw_it_fail_probes_first_and_the_others_wait_twice_as_long() -> None:
    heard = latest(CLOSED, opened(), NOW_S)
    assert share(opened(), NOW_S + FIRST_PAUSE_S) == 1
    assert share(heard, NOW_S + FIRST_PAUSE_S) == 0
    assert share(heard, NOW_S + 2 * FIRST_PAUSE_S) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([failed, succeeded, probed, suspected]), st.floats(-1e6, 1e6, allow_nan=False)),
        max_size=40,
    ),
    st.floats(-1e6, 1e6, allow_nan=False),
)
def test_whatever_happens_and_however_clocks_jump_the_share_is_one_and_the_pause_bounded(
    events: list[tuple[object, float]], later_s: float
) -> None:
    circuit = CLOSED
    for event, offset_s in events:
        circuit = event(circuit, NOW_S + offset_s)  # type: ignore[operator]
    assert 0 <= share(circuit, NOW_S + later_s) <= 1
    assert 0 < circuit.pause_s <= LONGEST_PAUSE_S
    if circuit.changed_at_s is not None:
        assert share(circuit, circuit.changed_at_s + 1_000) == 1  # no circuit stays open for ever
