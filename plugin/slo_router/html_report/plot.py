"""A plot as an SVG picture, drawn by Vega-Lite. It runs no script and loads nothing.

Colours are the page's CSS variables, so a plot follows the reader's light or dark setting. A table beside each plot
gives its numbers to readers who cannot see it. Without the extra `plots` a report has only the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from slo_router.contract.ages import DAY_S
from slo_router.contract.units import MS_PER_S

COLOURS = 6  # `--c0` to `--c5`; a further series has an earlier one's colour, dashed
Axis: TypeAlias = Literal["log", "linear", "time"]  # log: values above 0; linear: any values; time: Unix seconds
Spec: TypeAlias = dict[str, object]

_CONFIG: Spec = {
    "aria": False,  # the page gives the whole picture a name
    "view": {"stroke": None},
    "axis": {"labelColor": "var(--faint)", "labelFontSize": 12}
    | dict.fromkeys(("gridColor", "domainColor", "tickColor"), "var(--line)"),
    "text": {"color": "var(--ink)", "fontSize": 12},
    "font": "system-ui, sans-serif",
}


class Point(NamedTuple):
    """A measured value, with the ends of its interval where it has one. `name` is drawn beside it."""

    x: float
    y: float
    name: str = ""
    low: float | None = None
    high: float | None = None


class Series(NamedTuple):
    """Values that belong together, and the line through them."""

    name: str
    points: Sequence[Point]
    line: Literal["linear", "step-after"] | None = "linear"


class Plot(NamedTuple):
    """One plot and its table (`head`, `rows`). With `from_zero`, a linear y axis begins at 0."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    x_axis: Axis = "time"
    y_axis: Axis = "linear"
    from_zero: bool = True
    has_dots: bool = True
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def picture(plot: Plot) -> str:
    """The plot as SVG text, with every string escaped; empty where the extra `plots` is not installed."""
    try:
        import vl_convert  # noqa: PLC0415  # an extra of 84 MB, used only here
    except ImportError:
        return ""
    return vl_convert.vegalite_to_svg(_spec(plot))


def _spec(plot: Plot) -> Spec:
    return {
        "width": 640,
        "height": 200,
        "background": None,
        "data": {"values": list(_values(plot))},
        "encoding": {
            "x": _across(plot),
            "detail": {"field": "series"},
            "color": {"field": "colour", "type": "nominal", "scale": None},
        },
        "layer": list(_layers(plot)),
        "config": _CONFIG,
    }


def _across(plot: Plot) -> Spec:
    axis: Spec = {"grid": False, "tickCount": 4, "labelOverlap": "greedy", "labelSeparation": 8}
    shared = {"field": "x", "title": None}
    if plot.x_axis != "time":
        return shared | {
            "type": "quantitative",
            "axis": axis,
            "scale": {"type": plot.x_axis, "nice": False, "padding": 10},
        }
    times = [point.x for series in plot.series for point in series.points]
    is_long = bool(times) and max(times) - min(times) > 3 * DAY_S
    axis["format"] = "%Y-%m-%d" if is_long else "%m-%d %H:%M"
    return shared | {"type": "temporal", "axis": axis, "scale": {"type": "utc", "padding": 10}}


def _layers(plot: Plot) -> Iterator[Spec]:
    scale = {"type": plot.y_axis, "nice": plot.y_axis == "linear", "zero": plot.from_zero}
    shared: Spec = {"type": "quantitative", "scale": scale, "title": None, "axis": {"tickCount": 5}}
    y = {"y": shared | {"field": "y"}}
    for line in dict.fromkeys(series.line for series in plot.series if series.line):
        yield {
            "transform": [{"filter": {"field": "line", "equal": line}}],
            "mark": {"type": "line", "interpolate": line},
            "encoding": y | {"strokeDash": {"field": "dash", "type": "nominal", "scale": None}},
        }
    yield {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule", "opacity": 0.6},
        "encoding": {"y": shared | {"field": "low"}, "y2": {"field": "high"}},
    }
    if plot.has_dots:
        yield {"mark": {"type": "point", "filled": True, "opacity": 1}, "encoding": y}
    yield {
        "transform": [{"filter": "datum.name"}],
        "mark": {"type": "text", "align": "left", "dx": 7, "dy": -7},
        "encoding": y | {"text": {"field": "name"}, "color": {"value": "var(--ink)"}},
    }


def _values(plot: Plot) -> Iterator[Spec]:
    scale = MS_PER_S if plot.x_axis == "time" else 1
    for number, series in enumerate(plot.series):
        shared = {"series": number, "colour": f"var(--c{number % COLOURS})", "line": series.line}
        dash = [6, 4] if number >= COLOURS else [1, 0]
        for point in series.points:
            yield shared | {"dash": dash} | point._asdict() | {"x": point.x * scale}
