"""The report's figures, worked out by hand: savings and their interval, attainment, quality and evidence, remarks."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Metrics, Snapshot
from slo_router.operator.replay.counterfactual import Counterfactual, Money
from slo_router.operator.replay.recorded import decode
from slo_router.operator.reporting.report import Evidence, make_report
from slo_router.operator.reporting.rows import Lines, Report
from slo_router.operator.reporting.tally import Tallies
from tests.shared.builders import NOW_S, measured
from tests.shared.record_builders import LARGE, SMALL, line_of, read_back, shadow_line_of

NOTHING = Snapshot()
LINES = Lines(read=5, broken=1, left_out=2)


def reported(
    *moneys: Money, hours_apart: float = 0.0, snapshot: Snapshot = NOTHING, baseline: str | None = None
) -> Report:
    tallies = Tallies()
    for number, money in enumerate(moneys):
        tallies.add(read_back(ts=NOW_S + number * hours_apart * 3_600), money)
    return make_report(tallies, LINES, baseline, [SMALL, LARGE], Evidence(snapshot))


def paid(spent_usd: float, baseline_usd: float = 4.0, *, is_exact: bool = True) -> Money:
    return Money(spent_usd, baseline_usd, 0.7, 0.9, is_exact)


def test_savings_are_the_share_of_the_baseline_that_was_not_spent() -> None:
    """Spent 1 and 3 of 4 and 4: half. Residuals ∓1, so ± 1.96 · √(2 · 2) / 8 = 0.49."""
    total = reported(paid(1.0), paid(3.0)).total
    assert (total.spent_usd, total.baseline_usd, total.saved_usd, total.saved_share) == (4.0, 8.0, 4.0, 0.5)
    assert total.saved_interval == pytest.approx((0.01, 0.99), abs=1e-3)


def test_from_ten_hours_on_the_hours_vary_and_not_the_single_requests() -> None:
    """Each hour spends 1 and 3 of 8. The hours do not differ, although the requests do."""
    moneys = [paid(1.0), paid(3.0)] * 10
    report = reported(*moneys, hours_apart=0.5)
    assert report.total.saved_interval == pytest.approx((0.5, 0.5))
    assert report.interval_basis == "10 hours"
    assert reported(*moneys[:18], hours_apart=0.5).interval_basis == "18 requests, taken as independent"
    assert len(report.hours) == 10


def test_a_loss_is_negative() -> None:
    assert reported(paid(5.0)).total.saved_share == pytest.approx(-0.25)


def test_rows_are_the_busiest_first_and_their_shares_add_up() -> None:
    tallies = Tallies()
    for name in ("small", "large", "large"):
        tallies.add(read_back(deployment=name, slo_met=name == "large"), paid(1.0))
    rows = make_report(tallies, LINES, None, [SMALL, LARGE], Evidence()).deployments
    assert [(row.name, row.requests, row.attainment) for row in rows] == [("large", 2, 1.0), ("small", 1, 0.0)]
    assert [row.share for row in rows] == pytest.approx([2 / 3, 1 / 3])
    assert rows[0].attainment_interval == pytest.approx((0.3424, 1.0), abs=1e-4)  # 2 / (2 + 3.8415)


def test_quality_shows_what_is_configured_and_what_was_measured_on_how_many_answers() -> None:
    """80 of 100: (0.8 + 0.0192 ± 1.96 · √(0.16/100 + 0.96/10,000)) / 1.0384."""
    snapshot = measured(small=Metrics(NOW_S, quality_score=0.8, quality_n=100))
    (row,) = reported(paid(1.0), snapshot=snapshot).quality
    assert (row.deployment, row.category, row.configured, row.measured, row.measured_answers) == (
        "small",
        "ner",
        0.7,
        0.8,
        100,
    )
    assert row.measured_interval == pytest.approx((0.7112, 0.8666), abs=1e-4)
    (unmeasured,) = reported(paid(1.0)).quality
    assert (unmeasured.configured, unmeasured.measured, unmeasured.measured_interval) == (0.7, None, None)


def test_a_quality_that_the_gate_holds_is_unknown_where_no_record_says_one() -> None:
    tallies = Tallies()
    tallies.add(decode(line_of().replace('"quality_bound":0.7,', "")), paid(1.0))
    for is_held, believed in ((False, 0.7), (True, None)):
        known = Evidence(measured(small=Metrics(NOW_S, quality_held=is_held)))
        (row,) = make_report(tallies, LINES, None, [SMALL, LARGE], known).quality
        assert (row.mean, row.bound, row.is_recorded) == (believed, believed, False)


def test_what_the_figures_rest_on_is_said() -> None:
    assert "as many output tokens" in reported(paid(1.0)).assumptions[0]
    notes = reported(paid(1.0, is_exact=False), Money(None, None, None, None, is_exact=True)).assumptions
    assert "1 of 1 requests involve a deployment without a list price" in notes[1]
    assert "1 requests are in no sum of USD" in notes[2]


def test_requests_in_shadow_are_counted_and_told() -> None:
    tallies = Tallies()
    for record in (read_back(), decode(shadow_line_of(deployment="large"))):
        tallies.add(record, Counterfactual([SMALL, LARGE]).account(record))
    report = make_report(tallies, LINES, None, [SMALL, LARGE], Evidence())
    assert [(row.name, row.shadow) for row in (report.total, *report.deployments)] == [
        ("all", 1),
        ("large", 1),
        ("small", 0),
    ]
    assert report.assumptions[1].startswith("1 requests were in shadow: LiteLLM chose")


def test_no_request_is_no_figure() -> None:
    report = reported()
    total = report.total
    assert (report.first_s, total.requests, total.share, report.lines_broken) == (None, 0, 0.0, 1)
    assert (total.saved_share, total.saved_interval, total.attainment, total.quality, total.ttft_p50_ms) == (None,) * 5
