"""Hard filters say which limit a deployment breaks, with the found value. An unknown fails only a quality floor."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Facts, Rejection, Slo
from slo_router.decision import filters
from slo_router.decision.filters import FILTERS, HARDNESS, Demand, concerned
from tests.shared.builders import NOTHING_KNOWN, REQUEST

A = Facts("a", "m", context_tokens=1_600)
DEMAND = Demand(REQUEST)  # 1,000 prompt tokens (1,100 with the margin of a tenth), room for 500 answer tokens


@pytest.mark.parametrize(
    ("context_tokens", "rejected"),
    [
        (1_600, False),  # 1,000 × 1.1 + 500 = 1,600 fits exactly
        (1_599, True),
        (1_500, True),  # prompt and answer would fit without the margin
        (1_100, True),  # the prompt would fit without the answer
        (None, False),  # unknown windows pass: most deployments take most requests
    ],
)
def test_prompt_with_a_margin_and_answer_must_fit_the_context_window(
    context_tokens: int | None, rejected: bool
) -> None:
    found = filters.context_window(Facts("a", "m", context_tokens), NOTHING_KNOWN, DEMAND)
    assert found == (Rejection("a", "context_window", 1_600, context_tokens) if rejected else None)


def test_the_clients_max_tokens_is_what_the_window_must_hold_not_the_expected_answer() -> None:
    greedy = Demand(REQUEST._replace(output_tokens=500, reserved_tokens=4_000))
    assert filters.context_window(A, NOTHING_KNOWN, greedy) == Rejection("a", "context_window", 5_100, 1_600)


def test_declared_missing_capabilities_reject_and_are_all_named() -> None:
    facts = Facts("a", "m", unsupported=frozenset({"vision", "tools", "audio"}))
    asks = Demand(REQUEST._replace(needs=frozenset({"tools", "vision", "json_schema"})))
    assert filters.capability(facts, NOTHING_KNOWN, asks) == Rejection("a", "capability", "tools,vision", "supported")
    assert filters.capability(facts, NOTHING_KNOWN, DEMAND) is None  # nothing needed
    assert filters.capability(A, NOTHING_KNOWN, asks) is None  # nothing declared


def test_what_makes_no_text_is_not_asked_for_any() -> None:
    facts = Facts("a", "m", unsupported=frozenset({"text", "vision"}))
    assert filters.capability(facts, NOTHING_KNOWN, DEMAND) == Rejection("a", "capability", "text", "supported")


def test_a_history_that_others_can_not_read_is_a_capability_too() -> None:
    asks = Demand(REQUEST, readers=frozenset({"b"}))
    assert filters.capability(A, NOTHING_KNOWN, asks) == Rejection("a", "capability", "history", "supported")
    assert filters.capability(Facts("b", "m"), NOTHING_KNOWN, asks) is None
    assert filters.capability in concerned(asks)


def test_a_deployment_that_failed_more_often_than_allowed_is_rejected() -> None:
    demand = Demand(REQUEST, max_error_rate=0.5)
    worse = NOTHING_KNOWN._replace(error_rate=0.51)
    assert filters.error_rate(A, worse, demand) == Rejection("a", "error_rate", 0.51, 0.5)
    assert filters.error_rate(A, NOTHING_KNOWN._replace(error_rate=0.5), demand) is None
    assert filters.error_rate(A, NOTHING_KNOWN, demand) is None  # never measured


@pytest.mark.parametrize(
    ("quality", "floor", "rejected"),
    [
        (0.7, 0.7, False),
        (0.69, 0.7, True),
        (None, 0.7, True),
        (None, 0.0, True),
        (0.0, 0.0, False),
        (None, None, False),
    ],
)
def test_an_unknown_quality_fails_where_a_minimum_is_asked(
    quality: float | None, floor: float | None, rejected: bool
) -> None:
    known = NOTHING_KNOWN._replace(quality=1.0, quality_bound=quality)  # the filter ignores the mean
    found = filters.quality(A, known, Demand(REQUEST, Slo(min_quality=floor)))
    assert found == (Rejection("a", "quality", quality, floor) if rejected else None)


def test_faulty_answers_reject_with_what_was_found_and_are_not_looked_at_where_nothing_is_marked() -> None:
    marked = Demand(REQUEST, answer_faults={"a": "looping 9/10"})
    assert filters.answers(A, NOTHING_KNOWN, marked) == Rejection("a", "answers", "looping 9/10", "sound")
    assert filters.answers(Facts("b", "m"), NOTHING_KNOWN, marked) is None
    assert filters.answers in concerned(marked)
    assert filters.answers not in concerned(DEMAND)


def test_a_deployment_already_tried_for_this_request_is_rejected() -> None:
    found = filters.already_tried(A, NOTHING_KNOWN, Demand(REQUEST, tried=frozenset({"a", "b"})))
    assert found == Rejection("a", "already_tried", "failed this request", "an untried deployment")
    assert filters.already_tried(A, NOTHING_KNOWN, Demand(REQUEST, tried=frozenset({"b"}))) is None


def test_who_refuses_everything_is_rejected() -> None:
    found = filters.account(A, NOTHING_KNOWN, Demand(REQUEST, denied=frozenset({"a"})))
    assert found == Rejection("a", "account", "refuses everything", "an answer")
    assert filters.account(A, NOTHING_KNOWN, Demand(REQUEST, denied=frozenset({"b"}))) is None


@pytest.mark.parametrize(
    ("prompt_tokens", "rejected"),
    [(7_000, False), (7_273, True)],  # × 1.1 is 7,700 and 8,000.3
)
def test_where_an_answer_limit_is_stated_apart_the_window_is_for_the_prompt_alone(
    prompt_tokens: int, rejected: bool
) -> None:
    facts = Facts("a", "m", context_tokens=8_000, max_output_tokens=4_000)
    asks = Demand(REQUEST._replace(prompt_tokens=prompt_tokens, reserved_tokens=4_000, limit_tokens=4_000))
    assert (filters.context_window(facts, NOTHING_KNOWN, asks) is not None) is rejected


@pytest.mark.parametrize(
    ("asked", "limit", "rejected"),
    [(32_000, 4_096, True), (4_096, 4_096, False), (None, 4_096, False), (32_000, None, False)],
)
def test_more_room_than_the_models_answers_have_is_rejected(
    asked: int | None, limit: int | None, rejected: bool
) -> None:
    facts = Facts("a", "m", max_output_tokens=limit)
    found = filters.answer_limit(facts, NOTHING_KNOWN, Demand(REQUEST._replace(limit_tokens=asked)))
    assert found == (Rejection("a", "answer_limit", 32_000, 4_096) if rejected else None)


def test_every_broken_filter_is_reported_the_hardest_first() -> None:
    facts = Facts("a", "m", context_tokens=10, max_output_tokens=10, unsupported=frozenset({"tools"}))
    prediction = NOTHING_KNOWN._replace(quality=0.1, error_rate=1.0)
    one, asks = frozenset({"a"}), REQUEST._replace(needs=frozenset({"tools"}), limit_tokens=500)
    demand = Demand(asks, Slo(min_quality=0.5), 0.5, one, 0.01, one, {"a": "looping 9/10"}, one, one)
    rejected = [accepts(facts, prediction, demand) for accepts in concerned(demand)]
    found = [rejection.filter for rejection in rejected if rejection is not None]
    assert found == [
        "cost_ceiling",
        "context_window",
        "capability",
        "answer_limit",
        "answers",
        "quota",
        "account",
        "already_tried",
        "circuit",
        "error_rate",
        "quality",
    ]
    assert [HARDNESS[name] for name in found] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [accepts(A, NOTHING_KNOWN, DEMAND) for accepts in FILTERS] == [None] * len(FILTERS)
