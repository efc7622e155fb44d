"""A stream's sample: TTFT at the first output, E2E at the end of the answer, tokens from usage, one error class."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.measure.stream import Sample, StreamReading
from tests.shared.scripted_server import delta, usage


def read(*events: tuple[float, object], sent_s: float = 100.0) -> Sample:
    """The sample of events (seconds after the send, payload)."""
    reading = StreamReading(sent_s)
    for after_s, payload in events:
        reading.feed(payload if isinstance(payload, str) else json.dumps(payload), sent_s + after_s)
    return reading.sample()


def test_times_and_tokens_of_a_plain_stream() -> None:
    sample = read(
        (0.1, delta(role="assistant", content="")),
        (0.5, delta(content="Hel")),
        (0.7, delta(content="lo")),
        (0.9, delta("stop")),
        (0.95, usage(12, 5)),
        (0.96, "[DONE]"),
    )
    assert (sample.ttft_s, sample.e2e_s) == pytest.approx((0.5, 0.9))
    assert (sample.prompt_tokens, sample.completion_tokens) == (12, 5)
    assert sample.tpot_s == pytest.approx(0.1)  # (0.9 − 0.5) / (5 − 1)


@pytest.mark.parametrize(
    "output",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"refusal": "x"},
    ],
)
def test_content_reasoning_and_tool_calls_end_the_ttft(output: dict[str, object]) -> None:
    sample = read((0.2, delta(role="assistant")), (0.3, {"choices": [{"delta": output}]}), (0.4, delta("stop")))
    assert sample.ttft_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    "nothing",
    [
        "",
        "  ",
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(content=None),
        delta(tool_calls=[]),
        {"choices": []},
        {"choices": None},
        {"id": "x"},
    ],
)
def test_chunks_without_output_do_not_end_the_ttft(nothing: object) -> None:
    sample = read((0.1, nothing), (0.6, delta(content="x")), (0.7, nothing), (0.8, delta("stop")))
    assert (sample.ttft_s, sample.e2e_s) == pytest.approx((0.6, 0.8))


def test_gaps_lie_between_chunks_with_output_and_are_one_fewer() -> None:
    sample = read(
        (0.5, delta(role="assistant", content="")),
        (0.6, delta(reasoning_content="hm")),
        (0.8, delta(content="Hel")),
        (0.9, delta(content="")),
        (1.1, delta(content="lo wor")),
        (1.2, delta("stop", content="ld")),
        (1.3, usage(12, 7)),
    )
    assert sample.itl_s == pytest.approx((0.2, 0.3, 0.1))  # 0.8 − 0.6, 1.1 − 0.8, 1.2 − 1.1
    assert read((0.1, delta(content="x")), (0.2, delta("stop"))).itl_s == ()


def test_the_answer_is_the_content_alone_and_no_representation_shows_it() -> None:
    parts = [{"type": "thinking", "thinking": [{"text": "no"}]}, {"type": "text", "text": "Paris"}]
    sample = read(
        (0.1, delta(reasoning_content="secret", reasoning="secret")),
        (0.2, delta(content="In ")),
        (0.3, delta(content=parts)),
        (0.4, delta("length")),
    )
    assert (sample.answer, sample.reasoning_chars, sample.finish_reason) == ("In Paris", 6, "length")
    assert "Paris" not in repr(sample)


@pytest.mark.parametrize(
    ("details", "cached", "reasoning"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 8}}, 8, None),  # OpenAI, vLLM, LiteLLM
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 0}, 0, None),
        ({"cache_read_input_tokens": 5, "cache_creation_input_tokens": 3}, 5, None),  # Anthropic through LiteLLM
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, 4, None),  # DeepSeek
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, None, 3),
        ({"reasoning_tokens": 2}, None, 2),
        ({"prompt_tokens_details": None, "completion_tokens_details": "x"}, None, None),
        ({}, None, None),
    ],
)
def test_cached_and_reasoning_tokens_are_read_in_every_spelling(
    details: dict[str, object], cached: int | None, reasoning: int | None
) -> None:
    counts = {"prompt_tokens": 10, "completion_tokens": 4, **details}
    sample = read((0.1, delta(content="x")), (0.2, delta("stop")), (0.3, {"choices": [], "usage": counts}))
    assert (sample.cached_tokens, sample.reasoning_tokens, sample.completion_tokens) == (cached, reasoning, 4)


def test_a_failure_keeps_what_it_said_and_what_it_will_cost() -> None:
    cut = read((0.1, delta(content="x") | {"usage": usage(9, 1)["usage"]}))
    assert (cut.error, cut.answer, cut.prompt_tokens, cut.completion_tokens) == ("cut_stream", "x", 9, 1)


def test_tokens_are_never_counted_from_chunks() -> None:
    chunks = [(0.1 * i, delta(content="x")) for i in range(1, 9)]
    sample = read(*chunks, (0.9, delta("stop")), (1.0, "[DONE]"))
    assert sample.error is None
    assert (sample.prompt_tokens, sample.completion_tokens, sample.tpot_s) == (None, None, None)


def test_a_running_usage_counts_by_its_last_value() -> None:
    running = [(0.1 * n, delta(content="x") | {"usage": usage(7, n)["usage"]}) for n in (1, 2, 3)]
    assert read(*running, (0.4, delta("stop"))).completion_tokens == 3


@pytest.mark.parametrize("count", [-1, 2.5, "12", True, None])
def test_a_usage_that_is_no_count_is_unknown(count: object) -> None:
    broken = {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}}
    sample = read((0.1, delta(content="x")), (0.2, delta("stop")), (0.3, broken))
    assert (sample.error, sample.prompt_tokens, sample.completion_tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("thought", "tpot_s"),
    [({}, 0.1), ({"reasoning_content": "Hm."}, 0.004), ({"content": "<think>Hm.</think>"}, 0.004)],
)
def test_tpot_is_of_the_tokens_that_a_client_sees(thought: Mapping[str, object], tpot_s: float) -> None:
    """The model wrote hidden reasoning before the first visible token."""
    counts = {"prompt_tokens": 9, "completion_tokens": 101, "completion_tokens_details": {"reasoning_tokens": 96}}
    end = (0.9, delta("stop")), (0.9, {"choices": [], "usage": counts})
    sample = read((0.5, delta(**thought)), (0.5, delta(content="x")), *end)  # type: ignore[arg-type]
    assert sample.tpot_s == pytest.approx(tpot_s)
    assert sample.hidden_tokens == (0 if thought else 96)


@pytest.mark.parametrize("tokens", [0, 1])
def test_tpot_is_unknown_below_two_tokens(tokens: int) -> None:
    assert read((0.1, delta(content="x")), (0.2, delta("stop")), (0.3, usage(5, tokens))).tpot_s is None


def test_missing_done_is_no_error_after_a_finish_reason() -> None:
    assert read((0.1, delta(content="x")), (0.2, delta("stop"))).error is None


def test_missing_finish_reason_is_no_error_before_done() -> None:
    assert read((0.1, delta(content="x")), (0.2, "[DONE]")).error is None


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], "cut_stream"),
        ([delta(content="x")], "cut_stream"),
        ([delta(content="x"), "{not json"], "malformed"),
        ([delta(content="x"), "[" * 100_000], "malformed"),
        ([delta(content="x"), "[1]"], "malformed"),
        ([delta(content="x"), {"choices": "x"}], "malformed"),
        ([delta(content="x"), {"choices": ["x"]}], "malformed"),
        ([delta(content="x"), {"error": {"code": 500}}], "error_event"),
        ([delta(role="assistant"), delta("stop"), "[DONE]"], "empty"),
    ],
)
def test_a_failure_has_a_class_and_no_latency(events: list[object], error: str) -> None:
    sample = read(*((0.1, event) for event in events))
    assert (sample.error, sample.ttft_s, sample.e2e_s, sample.tpot_s, sample.itl_s) == (error, None, None, None, ())


def test_nothing_after_done_counts() -> None:
    reading = StreamReading(0.0)
    for data in (json.dumps(delta(content="x")), "[DONE]", "{not json", json.dumps(usage(1, 99))):
        reading.feed(data, 1.0)
    reading.fail("timeout")
    assert reading.sample() == Sample(1.0, 1.0, answer="x")


def test_the_first_error_is_the_one_reported() -> None:
    reading = StreamReading(0.0)
    reading.feed("{not json", 1.0)
    reading.fail("cut_stream")
    assert reading.sample().error == "malformed"


@settings(max_examples=50)
@given(st.lists(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_no_sequence_of_events_raises(events: list[str]) -> None:
    reading = StreamReading(0.0)
    for event in events:
        reading.feed(event, 1.0)
    assert reading.sample().error is not None
