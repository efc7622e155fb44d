"""The estimate as one HTML page: its tables, and the cost by day, as paid and as routed."""

from __future__ import annotations

from pathlib import Path

from slo_router.html_report.page import templates
from slo_router.html_report.plot import Plot, Point, Series
from slo_router.operator.commands.terminal import between, percent, usd
from slo_router.operator.estimate.estimate import Estimate
from slo_router.operator.estimate.show.tables import settles, tables

MOST_ROWS = 100  # of a table; --json has all


def as_html(made: Estimate) -> str:
    """The whole page."""
    environment = templates(Path(__file__).parent)
    environment.filters.update(usd=usd, percent=percent, between=between)
    shown = [table._replace(rows=table.rows[:MOST_ROWS]) for table in tables(made)]
    page = environment.get_template("page.html.j2")
    return page.render(made=made, plots=plots(made), tables=shown, settles=settles(made))


def plots(made: Estimate) -> list[Plot]:
    """USD by day; none for a single day."""
    if len(made.days) < 2:
        return []
    series = [
        Series("paid", [Point(day.start_s, day.spent_usd) for day in made.days]),
        Series("routed by what is known", [Point(day.start_s, day.stated_usd) for day in made.days]),
        Series("at the least", [Point(day.start_s, day.open_usd) for day in made.days]),
    ]
    return [Plot("Cost by day", "", "USD", series, has_dots=False)]
