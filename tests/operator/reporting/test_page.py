"""The page holds the report's figures and plots, loads nothing from elsewhere, and shows no name as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from slo_router.html_report.plot import Plot
from slo_router.operator.replay.counterfactual import Money
from slo_router.operator.reporting.page import as_html, merge, plots
from slo_router.operator.reporting.report import Evidence, make_report
from slo_router.operator.reporting.rows import Hour, Lines, Report
from slo_router.operator.reporting.tally import Tallies
from tests.shared.builders import NOW_S
from tests.shared.record_builders import LARGE, SMALL, read_back

VOID = {"meta"}


def report(hours: int = 3, team: str = "blue") -> Report:
    tallies = Tallies()
    for hour in range(hours):
        by = team if hour else "green"
        tallies.add(read_back(ts=NOW_S + 3_600 * hour, team_id=by), Money(1.0, 4.0, 0.7, 0.9, is_exact=True))
    return make_report(tallies, Lines(hours, 0, 0), None, [SMALL, LARGE], Evidence())


class Balance(HTMLParser):
    """Collects the elements that are still open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("hours", [0, 1, 3])
def test_the_page_is_well_formed_and_loads_nothing(hours: int) -> None:
    page = as_html(report(hours))
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert not re.search(r"(?:src|[^:]href|url\(|@import|<script)", page)
    assert page.count("<svg") == (2 if hours > 1 else 0)


def test_the_figures_are_on_the_page() -> None:
    text = as_html(report())
    assert all(shown in text for shown in ("$9", "75.0 %", "$3", "instead of $12", "0.700", "as many output tokens"))


def test_a_team_may_be_called_anything() -> None:
    page = as_html(report(team='<script>alert("x")</script>'))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def drawn(plot: Plot) -> list[list[tuple[float, float]]]:
    return [[(point.x, point.y) for point in series.points] for series in plot.series]


def test_a_plot_runs_from_the_first_hour_to_the_last() -> None:
    hours = [Hour(0, 1, 1.0, 4.0, 1, 1, 1), Hour(7_200, 2, 4.0, 4.0, 1, 2, 2)]
    cost, kept = plots(hours)
    assert drawn(cost) == [[(0, 1_000.0), (7_200, 2_000.0)], [(0, 4_000.0), (7_200, 2_000.0)]]  # USD per 1,000 requests
    assert drawn(kept) == [[(0, 100.0), (7_200, 50.0)]]
    assert plots(hours[:1]) == []


def test_requests_of_unknown_cost_are_in_no_cost_per_request() -> None:
    hours = [Hour(0, 4, 1.0, 4.0, 4, 4, 1), Hour(3_600, 9, 0.0, 0.0, 9, 9, 0), Hour(7_200, 2, 4.0, 4.0, 1, 2, 2)]
    cost, kept = plots(hours)
    assert drawn(cost)[0] == [(0, 1_000.0), (7_200, 2_000.0)]  # of one and of two requests
    assert len(drawn(kept)[0]) == 3
    assert [plot.title for plot in plots(hours[:2])] == ["SLO kept"]


def test_neighbouring_hours_are_merged_where_there_are_too_many() -> None:
    """Attainment is of those that were judged: of the second hour one in three."""
    hours = [Hour(0, 1, 1.0, 2.0, 1, 1, 1), Hour(3_600, 3, 1.0, 2.0, 0, 1, 2), Hour(7_200, 1, 5.0, 5.0, 0, 0, 1)]
    merged = merge(hours, 2)
    assert merged == [Hour(0, 4, 2.0, 4.0, 1, 2, 3), Hour(7_200, 1, 5.0, 5.0, 0, 0, 1)]
    assert [one.attainment for one in merged] == [0.5, None]
    assert merge(hours, 3) == hours
