"""An evaluation as tables, in the terminal and on one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from slo_router.html_report.page import templates
from slo_router.html_report.plot import Plot, Point, Series
from slo_router.operator.evaluating.evaluation import Evaluation
from slo_router.operator.evaluating.study import CONSTANT, Figure, Standing


class Grid(NamedTuple):
    """A table; a column whose name starts with `>` is aligned to the right."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def grids(made: Evaluation) -> Iterator[Grid]:
    """What each router reaches, and how it learns."""
    targets = [at.target for at in made.standings[0].targets]
    head = ["router"]
    for target in targets:
        head += [f">cost at {target:.0%}", ">quality reached"]
    rows = [
        [one.router, *(text for at in one.targets for text in (ranged(at.cost), ranged(at.quality, 3)))]
        for one in made.standings
    ]
    yield Grid("Cost at a share of the strongest model's quality", head, rows)
    rows = [
        [one.router, ranged(one.aiq, 3), ranged(one.apgr, 3), *(_dearer(one, i) for i in range(len(targets)))]
        for one in made.standings
    ]
    beside = [f">{target:.0%}: cost − {CONSTANT}'s" for target in targets]
    yield Grid("Over all costs, and beside the best constant model", ["router", ">AIQ", ">APGR", *beside], rows)
    rows = [
        [f"{one.labels:,}", one.router, ranged(one.apgr, 3), ranged(one.cost), ranged(one.quality, 3)]
        for one in made.curve
    ]
    yield Grid(
        "Learning curve", ["labels", "router", ">APGR", f">cost at {max(targets):.0%}", ">quality reached"], rows
    )


def ranged(figure: Figure, digits: int = 2) -> str:
    """`0.33 (0.26–0.40)`."""
    if figure.low is None or figure.high is None:
        return f"{figure.mean:.{digits}f}".replace("-", "−")
    between = " to " if figure.low < 0 else "–"
    return f"{figure.mean:.{digits}f} ({figure.low:.{digits}f}{between}{figure.high:.{digits}f})".replace("-", "−")


def as_html(made: Evaluation) -> str:
    """The whole page."""
    page = templates(Path(__file__).parent).get_template("evaluation.html.j2")
    return page.render(made=made, grids=list(grids(made)), plots=list(_plots(made)))


def _dearer(one: Standing, target: int) -> str:
    return "" if one.router == CONSTANT else ranged(one.targets[target].over_constant)


def _plots(made: Evaluation) -> Iterator[Plot]:
    reached = [
        Series(one.router, sorted(Point(at.cost.mean, at.quality.mean) for at in one.targets)) for one in made.standings
    ]
    yield Plot(
        "Quality at a cost", "cost, of the strongest model's", "quality, of the strongest's", reached, "linear",
        from_zero=False,
    )  # fmt: skip
    if made.curve:
        learned = [
            Series(name, [Point(one.labels, one.apgr.mean) for one in made.curve if one.router == name])
            for name in dict.fromkeys(one.router for one in made.curve)
        ]
        yield Plot("Learning curve", "labels", "APGR", learned, "log", from_zero=False)
