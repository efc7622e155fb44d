"""Tables of text for the templates, which only add the HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from slo_router.operator.commands.terminal import UNKNOWN

BAR = 100.0  # the width of a bar, in its own units


class Range(NamedTuple):
    """p50, p95 and the SLO's limit, on a scale from 0 to `BAR`."""

    low: float
    high: float
    limit: float | None


class Cell(NamedTuple):
    """One value. `share` (0..1) draws a bar beside it, `bounds` a range. `tone` is `good`, `bad` or empty."""

    text: str
    is_number: bool = False
    share: float | None = None
    bounds: Range | None = None
    href: str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, the columns' names, and rows. The first cell of a row is its name."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "Nothing yet."


def ms(value: float | None) -> Cell:
    """A cell with milliseconds."""
    return plain(UNKNOWN if value is None else f"{value:,.0f} ms")


def count(value: int) -> Cell:
    """A cell with a count."""
    return plain(f"{value:,}")


def plain(text: str) -> Cell:
    """A cell with a number that is formatted already."""
    return Cell(text, is_number=True)
