"""A sweep's fit: it is read back as written, dropped whole for one bad value, and predicts first cold, then live."""

from __future__ import annotations

import random

import pytest

from slo_router.contract.keys import metrics_key
from slo_router.contract.latency_fit import FIT_FIELDS, read_fit, write_fit
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Facts, Features, LatencyFit, Metrics
from slo_router.decision.known import prior
from slo_router.decision.prediction import View, predict
from slo_router.latency.curve import P50, P95, Observation, tpot_s, ttft_s
from slo_router.latency.evidence import Evidence, Prior, fit
from slo_router.live.state import LiveState
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from tests.shared.builders import NOW_S

SWEPT = LatencyFit(
    NOW_S - 60, 0.05, 1e-4, 0.002, 0.08, 16.0, 0.010, 0.0005, 1.2, 1.1, 0.04, 0.03, 0.99, 0.98, 300, 128, 4_096, 40
)  # fmt: skip
MEASURED = Metrics(NOW_S - 60, 0.08, 0.07, 0.10, 0.012, 0.015, error_rate=0.0, samples=40)  # on short prompts


def truth_s(tokens: int, load: float) -> float:
    return 0.05 + 1e-4 * tokens + 0.002 * load + 0.08 * max(0.0, load - 16)


def features(tokens: int) -> Features:
    return Features("ner", "client", tokens, 100, 100, stream=True)


def test_what_is_written_is_read_back() -> None:
    fields = write_fit(SWEPT)
    assert set(fields) == FIT_FIELDS
    assert fields["fit_b_ms"] == "0.1"  # milliseconds in Redis
    read, bad = read_fit(write_metrics(MEASURED) | fields, NOW_S)
    assert (read, bad) == (pytest.approx(SWEPT), [])
    assert read is not None
    assert isinstance(read.samples, int)


def test_a_hash_without_a_fit_has_none_and_nothing_bad() -> None:
    assert read_fit(write_metrics(MEASURED), NOW_S) == (None, [])


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e13", "fast", "", None])
@pytest.mark.parametrize("name", sorted(FIT_FIELDS))
def test_one_value_that_cannot_be_true_drops_the_whole_fit(name: str, value: str | None) -> None:
    fields = write_fit(SWEPT)
    if value is None:
        del fields[name]
    else:
        fields[name] = value
    read, bad = read_fit(fields, NOW_S)
    assert read is None
    assert [(one.field, one.value) for one in bad] == [(name, value or "")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fit_timestamp", str(NOW_S + 60)),
        ("fit_ttft_p95_ratio", "0.5"),
        ("fit_ttft_r2", "1.01"),
        ("fit_knee", "1000"),
        ("fit_a_ms", "3600001"),
        ("fit_d_ms", "0"),
    ],
)
def test_a_number_out_of_its_range_drops_the_fit(name: str, value: str) -> None:
    assert read_fit(write_fit(SWEPT) | {name: value}, NOW_S)[0] is None


def test_a_fit_by_which_answers_take_no_time_is_dropped() -> None:
    read, bad = read_fit(write_fit(SWEPT) | {"fit_a_ms": "0", "fit_b_ms": "0"}, NOW_S)
    assert read is None
    assert len(bad) == 1


def test_the_store_keeps_the_metrics_where_the_fit_is_poison(caplog: pytest.LogCaptureFixture) -> None:
    store = MetricsStore("")
    fields = write_metrics(MEASURED) | write_fit(SWEPT) | {"fit_c_ms": "-5"}
    assert store._read(metrics_key("", "a", "ner"), fields, NOW_S) == pytest.approx(MEASURED)
    assert store.dropped_values == 1
    assert "fit_c_ms" in caplog.text


def cold(tokens: int, load: float, metrics: Metrics) -> float:
    """The p95 TTFT that the router predicts before any live traffic."""
    view = View(
        make_snapshot({"a": {"ner": metrics}}, NOW_S), NOW_S, random.Random(0), {"a": LiveState(elsewhere=load)}
    )
    found = predict(Facts("a", "a"), features(tokens), view).ttft_s
    assert found is not None
    return found


@pytest.mark.parametrize(("tokens", "load"), [(200, 0), (8_000, 0), (200, 30), (8_000, 30)])
def test_cold_a_long_prompt_or_a_full_batch_is_predicted_right_with_the_fit_and_wrong_without(
    tokens: int, load: float
) -> None:
    swept = cold(tokens, load, MEASURED._replace(fit=SWEPT))
    assert swept == pytest.approx(1.2 * truth_s(tokens, load))
    assert cold(tokens, load, MEASURED) == 0.10  # the same for every request
    assert (truth_s(tokens, load) > 2 * 0.10) == ((tokens, load) != (200, 0))


def test_the_fit_serves_the_categories_that_were_not_swept_and_the_newest_counts() -> None:
    older = SWEPT._replace(measured_at_s=NOW_S - 9_000, a_s=9.0)
    rows = {"ner": MEASURED._replace(fit=older), "chat": MEASURED._replace(fit=SWEPT), "code": MEASURED}
    view = View(make_snapshot({"a": rows}, NOW_S), NOW_S, random.Random(0))
    found = predict(Facts("a", "a"), features(1_000), view)
    assert found.ttft_s == pytest.approx(1.2 * 0.15)
    assert (found.samples, found.age_s) == (300, 60)
    assert prior(list(rows.values())).fit == SWEPT


def test_a_fit_that_is_long_older_than_the_benchmark_counts_no_more() -> None:
    for age_days, counts in ((13, True), (15, False)):
        old = SWEPT._replace(measured_at_s=MEASURED.measured_at_s - age_days * 86_400)
        assert (prior([MEASURED._replace(fit=old)]).fit is not None) is counts
        assert (cold(8_000, 0, MEASURED._replace(fit=old)) > 0.10) is counts


def test_without_live_samples_the_curve_is_the_fit() -> None:
    curve = fit(None, Prior(0.5, 0.5, fit=SWEPT), NOW_S)
    assert curve is not None
    assert [ttft_s(curve, t, n) for t, n in ((100, 0), (100, 16), (5_000, 40))] == pytest.approx(
        [truth_s(100, 0), truth_s(100, 16), truth_s(5_000, 40)]
    )
    assert tpot_s(curve, 10) == pytest.approx(0.015)
    assert curve.ttft_ratios[P50] == 1
    assert (curve.ttft_ratios[P95], curve.tpot_ratios[P95]) == pytest.approx((1.2, 1.1))


def served(factor: float, *, count: int = 60, loads: int = 8) -> Evidence:
    """Evidence from short prompts at low load, `factor` times as slow as the sweep found."""
    rng, evidence, curve = random.Random(1), Evidence(), fit(None, Prior(fit=SWEPT), NOW_S)
    for i in range(count):
        at_s, tokens, load = NOW_S + i / 5, rng.randint(50, 300), rng.randrange(loads)
        first_s = truth_s(tokens, load) * factor * rng.lognormvariate(0, 0.1)
        evidence.add(Observation(at_s, tokens, load, 101, first_s, first_s + factor * (1 + 0.05 * load)), curve)
    return evidence


@pytest.mark.parametrize("count", [5, 60])
def test_what_live_traffic_does_not_show_is_still_the_fits(count: int) -> None:
    curve = fit(served(1.0, count=count), Prior(fit=SWEPT), NOW_S + count / 5)
    assert curve is not None
    assert ttft_s(curve, 8_000, 0) == pytest.approx(truth_s(8_000, 0), rel=0.2)
    assert ttft_s(curve, 8_000, 30) == pytest.approx(truth_s(8_000, 30), rel=0.2)


def test_live_traffic_takes_over() -> None:
    curve = fit(served(2.0), Prior(fit=SWEPT), NOW_S + 12)
    assert curve is not None
    assert ttft_s(curve, 200, 4) == pytest.approx(2 * truth_s(200, 4), rel=0.15)
    assert tpot_s(curve, 4) == pytest.approx(0.024, rel=0.15)
