"""Tables of text, as the templates take them: all that is left to do there is HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from slo_router.operator.commands.terminal import UNKNOWN

BAR = 100.0  # the width of a bar, in its own units


class Range(NamedTuple):
    """From p50 to p95, and the SLO's limit, on a scale from 0 to `BAR`."""

    low: float
    high: float
    limit: float | None


class Cell(NamedTuple):
    """One value. `share` draws a bar beside it, `bounds` a range; `tone` is good, bad or nothing."""

    text: str
    is_number: bool = False
    share: float | None = None
    bounds: Range | None = None
    href: str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, the columns' names, and rows of which the first cell names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "Nothing yet."


def ms(value: float | None) -> Cell:
    """Milliseconds."""
    return plain(UNKNOWN if value is None else f"{value:,.0f} ms")


def count(value: int) -> Cell:
    """How many."""
    return plain(f"{value:,}")


def plain(text: str) -> Cell:
    """A number that is text already."""
    return Cell(text, is_number=True)
