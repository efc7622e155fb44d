"""A plot as places on a plane: x to the right, y downwards, as SVG has it. Its numbers are with it, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import gmtime, strftime
from typing import NamedTuple, TypeVar

from slo_bench.show.scale import Scale, written

WIDTH, HEIGHT = 640.0, 240.0  # of a plot's area, in its own units
COLOURS = 6  # beyond them they begin again, dashed

Row = TypeVar("Row")
Key = TypeVar("Key")


class Dot(NamedTuple):
    """A measured value, and the ends of its interval where it has one. `label` is written beside it."""

    x: float
    y: float
    title: str
    label: str = ""
    low: float | None = None
    high: float | None = None


class Series(NamedTuple):
    """Values that belong together. `points` is the line through them, as SVG takes it."""

    name: str
    number: int
    points: str
    dots: tuple[Dot, ...] = ()

    @property
    def colour(self) -> int:
        """Which of the colours."""
        return self.number % COLOURS

    @property
    def is_dashed(self) -> bool:
        """A colour that was used before."""
        return self.number >= COLOURS


class Chart(NamedTuple):
    """One plot: title, what its axes say, and its table."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    series: tuple[Series, ...]
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> list[tuple[Key, list[Row]]]:
    """Rows with the same key together, in the order in which the keys first appear."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


def line(dots: Sequence[Dot]) -> str:
    """The points of a polyline."""
    return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in dots)


def upwards(scale: Scale, form: Callable[[float], str]) -> list[tuple[float, str]]:
    """The ticks of an upright axis."""
    return [(HEIGHT - place, text) for place, text in written(scale.ticks(), scale, form)]


def day(unix_s: float) -> str:
    """A time as people read it, UTC."""
    return strftime("%Y-%m-%d %H:%M", gmtime(unix_s))
