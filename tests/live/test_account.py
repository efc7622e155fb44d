"""A deployment that refuses everything loses its traffic after three refusals; a healthy one is shut for a moment."""

from __future__ import annotations

import pytest

from slo_router.contract.model import UNLIMITED
from slo_router.live.account import (
    ASKED_S,
    EARLY_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    REFUSALS,
    TRUST_S,
    TRUSTED,
    VERIFY_S,
    Account,
    answered,
    asked,
    denied,
    is_question_due,
    latest,
    lets_pass,
    refused,
    sent,
)
from slo_router.live.live import Live
from slo_router.live.probes import probe_ended, probes_due
from slo_router.live.state import Ending
from tests.shared.builders import absorb, told_by, wire

NOW_S = 1_800_000_000.0


def refusing(times: int, *, is_account: bool = False, can_ask: bool = True, account: Account = TRUSTED) -> Account:
    for _ in range(times):
        account = refused(account, NOW_S, NOW_S - 0.1, is_account=is_account, can_ask=can_ask)
    return account


@pytest.mark.parametrize("is_account", [False, True])
def test_after_three_refusals_in_a_row_it_is_asked_at_once_and_shut_after_one_that_speaks_of_the_account(
    is_account: bool,
) -> None:
    assert lets_pass(refusing(REFUSALS - 1), NOW_S)
    doubted = refusing(1 if is_account else REFUSALS, is_account=is_account)
    assert lets_pass(doubted, NOW_S) is not is_account
    assert is_question_due(doubted, NOW_S)
    assert not is_question_due(asked(doubted, NOW_S), NOW_S + 0.25)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    account = TRUSTED
    for _ in range(10):
        account = answered(refusing(REFUSALS - 1, account=account), NOW_S)
    assert lets_pass(account, NOW_S)


def test_ten_wrong_requests_in_a_row_take_nothing() -> None:
    account = TRUSTED
    for _ in range(10):
        account = refusing(1, account=account)
        assert lets_pass(account, NOW_S)
    assert not lets_pass(denied(asked(account, NOW_S), NOW_S), NOW_S)


def test_whoever_answers_the_question_is_trusted_and_ten_more_wrong_requests_take_nothing() -> None:
    vouched = answered(asked(refusing(REFUSALS), NOW_S), NOW_S)
    assert lets_pass(refusing(10, account=vouched), NOW_S)
    assert not is_question_due(refusing(2 * REFUSALS - 1, account=vouched), NOW_S)
    again = refusing(2 * REFUSALS, account=vouched)
    assert is_question_due(again, NOW_S)  # and keeps its traffic meanwhile
    assert not is_question_due(asked(again, NOW_S), NOW_S + 1)
    assert not lets_pass(denied(asked(again, NOW_S), NOW_S), NOW_S)
    assert not is_question_due(answered(asked(again, NOW_S), NOW_S), NOW_S)
    assert lets_pass(refusing(REFUSALS - 1, is_account=True, account=vouched), NOW_S)
    assert not lets_pass(refusing(REFUSALS, is_account=True, account=vouched), NOW_S)  # those speak of the account
    later = vouched._replace(changed_at_s=NOW_S - TRUST_S)
    assert is_question_due(refusing(REFUSALS, account=later), NOW_S)


def test_whoever_refuses_the_question_is_asked_ever_more_rarely() -> None:
    account, pauses_s = refusing(REFUSALS), []
    for _ in range(8):
        account = denied(asked(account, NOW_S), NOW_S)
        pauses_s.append(account.pause_s)
        before_s = NOW_S + account.pause_s - EARLY_S  # a request could go through
        assert not is_question_due(account, before_s - 0.1)
        assert is_question_due(account, before_s)
        assert not lets_pass(account, before_s)
    assert pauses_s[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses_s[-1] == LONGEST_PAUSE_S


def test_a_question_that_takes_long_lets_requests_through_and_no_refusal_of_theirs_is_its_answer() -> None:
    doubted, later_s = asked(refusing(REFUSALS, is_account=True), NOW_S), NOW_S + VERIFY_S
    assert not lets_pass(doubted, later_s - 0.1)
    assert not is_question_due(doubted, later_s)
    for at_s in (later_s, later_s + 1, later_s + 10):
        assert lets_pass(doubted, at_s)
        doubted = refused(sent(doubted, at_s), at_s + 0.1, at_s, is_account=False, can_ask=True)
    assert not lets_pass(denied(doubted, later_s + 11), later_s + 11 + VERIFY_S)
    assert is_question_due(doubted, NOW_S + ASKED_S)  # nobody reported the end of the first one


def test_a_request_in_place_of_a_question_shuts_it_longer_where_it_is_refused() -> None:
    shut, later_s = denied(refusing(REFUSALS), NOW_S), NOW_S + FIRST_PAUSE_S
    assert lets_pass(shut, later_s)
    out = sent(shut, later_s)
    assert not lets_pass(out, later_s + 0.1)
    found = refused(out, later_s + 0.2, later_s, is_account=False, can_ask=True)
    assert found.pause_s == 2 * FIRST_PAUSE_S
    assert refused(out, later_s + 0.2, NOW_S, is_account=False, can_ask=True) == out  # one that left before


def test_a_doubt_of_one_worker_shuts_it_for_no_other() -> None:
    assert lets_pass(latest(TRUSTED, refusing(REFUSALS), NOW_S), NOW_S)
    assert not lets_pass(latest(TRUSTED, denied(refusing(REFUSALS), NOW_S), NOW_S), NOW_S)


def test_where_nobody_can_ask_only_what_speaks_of_the_account_counts() -> None:
    assert lets_pass(refusing(20, can_ask=False), NOW_S)
    assert lets_pass(refusing(REFUSALS - 1, is_account=True, can_ask=False), NOW_S)
    shut = refusing(REFUSALS, is_account=True, can_ask=False)
    assert not lets_pass(shut, NOW_S + FIRST_PAUSE_S - 0.1)
    assert lets_pass(shut, NOW_S + FIRST_PAUSE_S)


def test_the_latest_of_two_workers_counts_and_none_from_the_future() -> None:
    shut = denied(refusing(REFUSALS), NOW_S)
    assert not lets_pass(latest(TRUSTED, shut, NOW_S), NOW_S)
    assert latest(TRUSTED, shut._replace(changed_at_s=NOW_S + 60), NOW_S) == TRUSTED
    back = answered(shut, NOW_S + 1)
    assert lets_pass(latest(shut, back, NOW_S + 1), NOW_S + 1)
    assert latest(back, shut, NOW_S + 1) == back


def test_what_a_worker_says_of_it_reaches_another_one() -> None:
    one, other = Live(), Live()
    other.dispatched("a", NOW_S)
    for _ in range(REFUSALS):
        one.finished(one.dispatched("a", NOW_S), "denied", NOW_S)
    absorb(other, [told_by(one)], {}, NOW_S)
    assert not lets_pass(other.states["a"].account, NOW_S)
    for nonsense in (
        None,
        [],
        [1, 2, 3, 4, 5, 6],
        [3, True, True, NOW_S, 1e9, None],
        ["3", True, True, NOW_S, 15, None],
    ):
        fresh = Live()
        fresh.dispatched("a", NOW_S)
        absorb(fresh, [wire({"a": {"account": nonsense}})], {}, NOW_S)
        assert lets_pass(fresh.states["a"].account, NOW_S)


def test_a_refusal_is_an_answer_so_nobody_takes_the_deployment_for_hanging() -> None:
    live = Live()
    live.finished(live.dispatched("a", NOW_S - 100), "refused", NOW_S)
    assert live.states["a"].answered_at_s == NOW_S
    assert live.states["a"].circuit.failures == 0


@pytest.mark.parametrize("ending", ["denied", "refused"])
def test_who_has_the_same_key_is_asked_too_once_one_is_found_to_refuse_everything(ending: Ending) -> None:
    live = Live()
    live.can_ask = lambda _: True
    for name, others in (("a", {"b"}), ("b", {"a"}), ("c", set[str]())):
        live.allow(name, UNLIMITED, frozenset(others))
    for _ in range(REFUSALS):
        live.finished(live.dispatched("a", NOW_S), ending, NOW_S)
    asked_now = probes_due(live.states, NOW_S)
    assert set(asked_now) == ({"a", "b"} if ending == "denied" else {"a"})
    probe_ended(live.states, "a", NOW_S, NOW_S + 1, "refuses")
    assert set(asked_now) | set(probes_due(live.states, NOW_S + 1)) == {"a", "b"}
    assert lets_pass(live.states["b"].account, NOW_S)
    probe_ended(live.states, "b", NOW_S, NOW_S + 1, "refuses")
    assert not lets_pass(live.states["b"].account, NOW_S + 1)
