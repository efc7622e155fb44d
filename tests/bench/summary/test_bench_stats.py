"""A cell's summary: latencies of successes, defined percentiles, rates over all, `None` where nothing was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_bench.measure.stream import Sample
from slo_bench.summary.percentiles import percentile
from slo_bench.summary.spreads import spread
from slo_bench.summary.stats import summarize

seconds = st.floats(min_value=0, max_value=1e4)


def test_percentiles_interpolate_linearly() -> None:
    ten = [float(value) for value in range(1, 11)]
    assert percentile(ten, 0.50) == 5.5  # rank 0.50 × 9 = 4.5: halfway from the fifth to the sixth
    assert percentile(ten, 0.95) == pytest.approx(9.55)  # rank 8.55: 9 + 0.55 × 1
    assert percentile([3.0], 0.95) == 3.0


@given(st.lists(seconds, min_size=1), st.floats(min_value=0, max_value=1))
def test_a_percentile_lies_within_the_values(values: list[float], share: float) -> None:
    assert min(values) <= percentile(sorted(values), share) <= max(values)


@given(st.lists(seconds, min_size=1))
def test_p95_is_never_below_p50(values: list[float]) -> None:
    summary = spread(values)
    assert summary is not None
    assert summary.p50_s <= summary.p95_s


def test_failures_are_not_averaged_into_latencies() -> None:
    samples = [Sample(0.1, 0.5, 10, 5), Sample(0.3, 0.7, 10, 5), Sample(error="timeout"), Sample(error="http_500")]
    stats = summarize(samples, wall_s=2.0)
    assert stats.ttft is not None
    assert stats.ttft.mean_s == pytest.approx(0.2)  # (0.1 + 0.3) / 2, not / 4
    assert (stats.requests, stats.succeeded, stats.error_rate) == (4, 2, 0.5)
    assert stats.errors == {"http_500": 1, "timeout": 1}


def test_throughput_is_tokens_of_all_streams_over_wall_time() -> None:
    stats = summarize([Sample(0.1, 0.5, 30, 20), Sample(0.1, 0.6, 40, 60)], wall_s=4.0)
    assert stats.throughput_tps == 20.0  # (20 + 60) / 4
    assert stats.total_tps == 37.5  # (30 + 40 + 20 + 60) / 4
    assert stats.output_tokens_mean == 40.0


def test_nothing_measured_is_none_and_not_zero() -> None:
    stats = summarize([Sample(error="connection")], wall_s=1.0)
    assert (stats.ttft, stats.tpot, stats.e2e) == (None, None, None)
    assert (stats.throughput_tps, stats.total_tps, stats.output_tokens_mean) == (None, None, None)
    assert stats.error_rate == 1.0
    assert summarize([], wall_s=0.0).error_rate is None


def test_throughput_is_unknown_where_one_success_came_without_usage() -> None:
    stats = summarize([Sample(0.1, 0.5, 30, 20), Sample(0.1, 0.5)], wall_s=1.0)
    assert (stats.throughput_tps, stats.output_tokens_mean) == (None, None)
    assert stats.ttft is not None


def test_cached_and_reasoning_tokens_are_sums_and_unknown_where_one_is() -> None:
    known = Sample(0.1, 0.5, 30, 20, cached_tokens=16, reasoning_tokens=4)
    stats = summarize([known, known], wall_s=2.0)
    assert (stats.cached_tokens, stats.reasoning_tokens, stats.prompt_tps) == (32, 8, 30.0)
    assert summarize([known, Sample(0.1, 0.5, 30, 20)], wall_s=1.0).cached_tokens is None


def test_gaps_of_all_successes_make_the_itl() -> None:
    samples = [Sample(0.1, 0.5, itl_s=(0.1, 0.3)), Sample(0.1, 0.3, itl_s=(0.2,)), Sample(error="timeout")]
    stats = summarize(samples, wall_s=1.0)
    assert stats.itl is not None
    assert (stats.itl.n, stats.itl.mean_s, stats.itl.p50_s) == (3, pytest.approx(0.2), 0.2)
