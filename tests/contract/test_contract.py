"""The contents of Redis: five fields are a whole hash, written values are read back, bad ones dropped and reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import MAX_VALUE, BadValue, read_metrics, write_metrics
from slo_router.contract.model import Metrics
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.contract.units import CLOCK_SKEW_S
from tests.shared.builders import NOW_S

FIVE = {
    "ttft_ms": "90",
    "throughput_tps": "55.5",
    "cost_per_1k": "0.0004",
    "error_rate": "0.01",
    "timestamp": str(NOW_S - 60),
}


def test_keys_are_the_contracts_behind_an_optional_prefix() -> None:
    assert metrics_key("", "qwen-7b", "ner") == "metrics:qwen-7b:ner"
    assert metrics_key("team:", "qwen-7b", "ner") == "team:metrics:qwen-7b:ner"


def test_a_hash_with_only_the_five_fields_is_enough() -> None:
    metrics, bad = read_metrics(FIVE, NOW_S)
    assert metrics == Metrics(NOW_S - 60, 0.09, throughput_tps=55.5, cost_per_1k_usd=0.0004, error_rate=0.01)
    assert bad == []


def test_every_further_field_is_read_in_seconds() -> None:
    more = {
        "ttft_p50_ms": "80",
        "ttft_p95_ms": "150",
        "tpot_ms": "12",
        "tpot_p95_ms": "20",
        "quality_score": "0.8",
        "quality_n": "30",
        "output_tokens_mean": "210.5",
        "hidden_tokens_mean": "60.5",
        "samples": "40",
        "schema": "1",
        "a_later_version_writes_this": "?",
    }
    metrics, bad = read_metrics(FIVE | more, NOW_S)
    assert metrics == pytest.approx(
        Metrics(
            NOW_S - 60, 0.09, 0.08, 0.15, 0.012, 0.02, 55.5, 0.0004, 0.01, 0.8, 30, 210.5, 40, hidden_tokens_mean=60.5
        )
    )
    assert bad == []


def test_a_missing_or_empty_field_is_unmeasured_and_a_zero_is_zero() -> None:
    metrics, bad = read_metrics({"timestamp": "1", "ttft_ms": "", "error_rate": "0", "cost_per_1k": "0.0"}, NOW_S)
    assert metrics == Metrics(1.0, error_rate=0.0, cost_per_1k_usd=0.0)
    assert bad == []


def test_a_fault_of_the_answers_is_read_and_a_malformed_one_is_dropped() -> None:
    metrics, bad = read_metrics(FIVE | {"answer_fault": "special_token 8/10"}, NOW_S)
    assert metrics is not None
    assert (metrics.answer_fault, bad) == ("special_token 8/10", [])
    for value in ("looping", "Looping 9/10", "looping 9/10 ", "x" * 99 + " 1/1", "looping -1/10", "9/10", "\x00", " "):
        metrics, bad = read_metrics(FIVE | {"answer_fault": value}, NOW_S)
        assert metrics == read_metrics(FIVE, NOW_S)[0]
        assert [one[:2] for one in bad] == [("answer_fault", value)]
    assert read_metrics(FIVE | {"answer_fault": ""}, NOW_S) == read_metrics(FIVE, NOW_S)


def test_a_held_quality_is_one_or_nothing() -> None:
    held, _ = read_metrics(FIVE | {"quality_held": "1"}, NOW_S)
    assert held is not None
    assert held.quality_held
    metrics, bad = read_metrics(FIVE | {"quality_held": "yes"}, NOW_S)
    assert metrics == read_metrics(FIVE, NOW_S)[0]
    assert [one[:2] for one in bad] == [("quality_held", "yes")]


NUMBERS = ("ttft_ms", "ttft_p50_ms", "ttft_p95_ms", "tpot_ms", "tpot_p95_ms", "throughput_tps", "cost_per_1k")
RATES = ("error_rate", "quality_score")
POISON = ("nan", "inf", "-inf", "Infinity", "-1", "-1e-9", "fast", "1,5", "0x10", "1e308", "1e999", " ", "\x00", "None")


@pytest.mark.parametrize("value", POISON)
@pytest.mark.parametrize("name", [*NUMBERS, *RATES, "quality_n", "samples", "output_tokens_mean"])
def test_a_poisoned_value_is_dropped_and_reported_and_the_rest_is_used(name: str, value: str) -> None:
    metrics, bad = read_metrics(FIVE | {name: value}, NOW_S)
    clean, _ = read_metrics({field: text for field, text in FIVE.items() if field != name}, NOW_S)
    assert metrics == clean
    assert bad == [BadValue(name, value, "a number in 0..1" if name in RATES else "a number from 0 to 1e+12")]


@pytest.mark.parametrize("name", RATES)
def test_a_rate_above_one_is_dropped(name: str) -> None:
    assert read_metrics(FIVE | {name: "1"}, NOW_S)[1] == []
    assert [b.field for b in read_metrics(FIVE | {name: "1.0001"}, NOW_S)[1]] == [name]


@pytest.mark.parametrize("stamp", [None, *POISON, str(NOW_S + CLOCK_SKEW_S + 1)])
def test_without_a_usable_timestamp_the_hash_is_dropped_whole(stamp: str | None) -> None:
    fields = {name: text for name, text in FIVE.items() if name != "timestamp"}
    metrics, bad = read_metrics(fields if stamp is None else fields | {"timestamp": stamp}, NOW_S)
    assert metrics is None
    assert bad == [BadValue("timestamp", stamp or "", "Unix seconds that are not in the future")]


def test_a_clock_that_is_slightly_ahead_is_no_lie_and_an_absent_key_is_no_error() -> None:
    metrics, bad = read_metrics(FIVE | {"timestamp": str(NOW_S + CLOCK_SKEW_S)}, NOW_S)
    assert metrics is not None
    assert bad == []
    assert read_metrics({}, NOW_S) == (None, [])


numbers = st.none() | st.floats(1e-6, MAX_VALUE / 1e3)
rates = st.none() | st.floats(0, 1)
counts = st.none() | st.integers(0, 10**9)
moments = st.none() | st.floats(1e6, NOW_S)
all_metrics = st.builds(
    Metrics, st.floats(0, NOW_S), *[numbers] * 7, error_rate=rates, quality_score=rates, quality_n=counts,
    output_tokens_mean=numbers, samples=counts, fit=st.none(), answer_fault=st.sampled_from([None, "looping 9/10"]),
    quality_held=st.booleans(), error_at_s=moments, fault_at_s=moments, prompt_tokens_mean=numbers,
    quality_at_s=moments, hidden_tokens_mean=numbers,
)  # fmt: skip


@given(all_metrics)
def test_what_is_written_is_read_back(metrics: Metrics) -> None:
    """Times keep six digits, other numbers nine, the timestamp a millisecond."""
    read, bad = read_metrics(write_metrics(metrics), NOW_S)
    assert bad == []
    assert read is not None
    assert read.measured_at_s == pytest.approx(metrics.measured_at_s, abs=0.001)
    for before, after in zip(metrics[1:], read[1:], strict=True):
        assert after == (pytest.approx(before, rel=1e-5, abs=1e-9) if isinstance(before, float | int) else before)


@given(st.dictionaries(st.sampled_from([*FIVE, *NUMBERS, *RATES, "samples"]), st.text() | st.floats().map(str)))
def test_whatever_a_writer_leaves_is_read_as_finite_numbers_in_range(fields: dict[str, str]) -> None:
    metrics, bad = read_metrics(fields, NOW_S)
    assert {b.field for b in bad} <= set(fields) | {"timestamp"}
    for value in metrics or ():
        assert value is None or (isinstance(value, int | float) and 0 <= value <= MAX_VALUE)


def test_an_unmeasured_field_of_a_record_is_null_and_never_zero() -> None:
    record = RequestRecord(
        ts=NOW_S, request_id="r", call_type=None, model_group=None, deployment=None, model=None, category=None,
        key_hash=None, key_alias=None, team_id=None, stream=False, prompt_tokens=None, completion_tokens=None,
        ttft_ms=None, tpot_ms=None, e2e_ms=None, cost_usd=None, slo=SloRecord(), slo_met=None, outcome="error",
        attempts=1, decision=None,
    )  # fmt: skip
    written = record.model_dump(mode="json")
    assert all(written[name] is None for name in ("ttft_ms", "tpot_ms", "e2e_ms", "cost_usd", "prompt_tokens"))
    assert written["slo"] == dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_ms", "cost_per_1k", "min_quality"))
    # the names of the public contract, 2.5
    assert set(written) >= {
        "ts", "request_id", "call_type", "model_group", "deployment", "model", "category", "key_hash", "key_alias",
        "team_id", "stream", "prompt_tokens", "completion_tokens", "ttft_ms", "tpot_ms", "e2e_ms", "cost_usd", "slo",
        "slo_met", "outcome", "attempts", "decision",
    }  # fmt: skip
