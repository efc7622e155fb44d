"""A deployment's row has the values of its workers, the benchmark and the latest records; None if none has a value."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Metrics
from slo_router.latency.evidence import Prior, fit
from slo_router.live.circuit import CLOSED, Circuit
from slo_router.live.state import LiveState
from slo_router.operator.replay.counterfactual import NO_MONEY
from slo_router.operator.reporting.present import Seen, circuit_in_words, describe
from slo_router.operator.reporting.tally import Tallies
from tests.shared.builders import NOW_S, measured
from tests.shared.record_builders import read_back


def test_a_row_by_hand() -> None:
    """The benchmark alone: 100 ms, p95 200 ms, 10 ms per token; two of three records, one of two judged kept."""
    curve = fit(None, Prior(0.1, 0.01, 0.2, 0.02), NOW_S)
    latest = Tallies()
    for name, met in (("small", True), ("small", False), ("large", True)):
        latest.add(read_back(deployment=name, slo_met=met), NO_MONEY)
    seen = Seen(
        measured(small=Metrics(NOW_S - 60, 0.1)), {"small": LiveState(elsewhere=3.0, curve=curve)}, latest, NOW_S
    )
    row = describe("small", "smart", seen)
    assert (row.in_flight, row.circuit, row.live_samples, row.live_age_s) == (3.0, "closed", 0.0, None)
    assert (row.ttft_p50_ms, row.ttft_p95_ms, row.tpot_ms) == pytest.approx((100.0, 200.0, 10.0))
    assert row.benchmarked == {"ner": pytest.approx(60.0)}
    assert (row.recent_share, row.recent_attainment) == pytest.approx((2 / 3, 0.5))


def test_what_nothing_is_known_of_is_none() -> None:
    row = describe("new", "smart", Seen(measured(), {}, Tallies(), NOW_S))
    assert (row.in_flight, row.circuit, row.benchmarked) == (0.0, "closed", {})
    assert (row.ttft_p50_ms, row.ttft_p95_ms, row.tpot_ms, row.recent_share, row.recent_attainment) == (None,) * 5


@pytest.mark.parametrize(
    ("circuit", "text"),
    [
        (CLOSED, "closed"),
        (Circuit(3, is_open=True, changed_at_s=NOW_S - 4), "open for 4 s"),
        (Circuit(changed_at_s=NOW_S), "letting 10% through"),
        (Circuit(changed_at_s=NOW_S - 2.5), "letting 55% through"),  # 0.1 + 0.9 · 2.5 / 5
        (Circuit(changed_at_s=NOW_S - 60), "closed"),
    ],
)
def test_a_circuit_in_words(circuit: Circuit, text: str) -> None:
    assert circuit_in_words(circuit, NOW_S) == text
