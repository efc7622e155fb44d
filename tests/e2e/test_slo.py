"""A request's SLO decides where the request goes: met, tightened, impossible, malformed, oversized."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Stack


def test_a_tighter_cost_limit_changes_nothing_when_the_cheapest_already_wins(stack: Stack) -> None:
    assert stack.ask(x_slo_cost_per_1k="0.001").headers["x-slo-selected-model"] == "small"


def test_a_tight_ttft_excludes_a_slow_cheap_deployment(stack: Stack) -> None:
    stack.publish(small={"ttft_ms": 500})

    answer = stack.ask(x_slo_ttft_ms="100")

    assert answer.headers["x-slo-selected-model"] == "medium"
    assert answer.headers["x-slo-decision"] == "met"
    assert answer.headers["x-slo-reason"] == "cheapest of 1 that meet the SLO"  # medium 80 ms; large 120, small 500


def test_an_impossible_slo_falls_back_to_the_highest_quality(stack: Stack) -> None:
    answer = stack.ask(x_slo_ttft_ms="1")

    assert answer.status_code == 200
    assert answer.headers["x-slo-selected-model"] == "large"
    assert answer.headers["x-slo-decision"] == "fallback"
    assert (
        answer.headers["x-slo-reason"] == "no candidate meets ttft_ms; best quality of 3; +59 ms on ttft_ms would"
    )  # small 60


def test_the_body_asks_as_the_header_does_and_nothing_of_it_reaches_the_provider(stack: Stack) -> None:
    by_metadata = stack.ask(body={"metadata": {"slo": {"min_quality": 0.7}}})
    by_user_slo = stack.ask(body={"user_slo": {"maxLatencyMs": 1}})

    assert by_metadata.headers["x-slo-selected-model"] == "medium"
    assert by_user_slo.headers["x-slo-decision"] == "fallback"
    sent = {key for handle in stack.endpoints.values() for seen in handle.seen() for key in seen.body_keys}
    assert sent <= {"messages", "model", "max_tokens", "stream"}


def test_a_client_whose_metadata_holds_texts_alone_asks_in_json(stack: Stack) -> None:
    """As OpenAI's typed clients do, for its API takes nothing else."""
    answer = stack.ask(body={"metadata": {"slo": '{"min_quality": 0.7}', "trace": "1"}})
    assert (answer.status_code, answer.headers["x-slo-selected-model"]) == (200, "medium")
    assert "metadata" not in stack.endpoints["medium"].seen()[0].body_keys


def test_the_header_wins_over_the_body(stack: Stack) -> None:
    answer = stack.ask(body={"metadata": {"slo": {"min_quality": 0.7}}}, x_slo_min_quality="0.9")

    assert answer.headers["x-slo-selected-model"] == "large"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-slo-ttft-ms", "NaN"),
        ("x-slo-tpot-ms", "-1"),
        ("x-slo-e2e-ms", "soon"),
        ("x-slo-cost-per-1k", "1e99"),
        ("x-slo-min-quality", "1.5"),
        ("x-slo-category", "gardening"),
    ],
)
def test_a_malformed_value_is_a_400_that_names_header_and_value(stack: Stack, header: str, value: str) -> None:
    asked: dict[str, Any] = {header: value}
    answer = stack.ask(**asked)

    assert answer.status_code == 400
    assert header in answer.text
    assert value in answer.text
    assert stack.seen() == {}


def test_a_client_names_the_category(stack: Stack) -> None:
    assert stack.ask(x_slo_category="reasoning").headers["x-slo-category"] == "reasoning"


def test_an_oversized_prompt_goes_to_the_next_larger_window(stack: Stack) -> None:
    text = "Summarize the following. " + "The cat sat on the mat and looked at the rain. " * 250  # 11,775 characters

    answer = stack.ask(text)  # about 2,900 tokens and the answer: too much for small's 2,000

    assert answer.status_code == 200
    assert answer.headers["x-slo-selected-model"] == "medium"


def test_a_client_that_reserves_a_long_answer_gets_a_window_that_holds_it(stack: Stack) -> None:
    answer = stack.ask(body={"max_tokens": 10_000})

    assert answer.headers["x-slo-selected-model"] == "large"


def test_every_user_of_the_same_group_default_is_held_to_it(stack: Stack) -> None:
    stack.publish(small={"ttft_ms": 1500})  # the group allows 1,000 ms

    assert stack.ask().headers["x-slo-selected-model"] == "medium"
