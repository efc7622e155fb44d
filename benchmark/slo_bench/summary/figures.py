"""Tables and the form of their figures: milliseconds, a dash for unmeasured, a star for too few values."""

from __future__ import annotations

from rich.table import Table

from slo_bench.summary.spreads import Spread
from slo_router.contract.intervals import Interval
from slo_router.contract.units import MS_PER_S, to_ms

UNMEASURED = "–"


def table(*columns: str, title: str | None = None, caption: str | None = None) -> Table:
    """A table without rows. A column whose name starts with `>` is aligned to the right."""
    made = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name in columns:
        made.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return made


def number(value: float | None, form: str, unit: str = "") -> str:
    """A value in the format `form`, followed by its unit; a dash where unmeasured."""
    return UNMEASURED if value is None else format(value, form) + unit


def rounded_ms(seconds: float | None) -> float | None:
    """Milliseconds to a thousandth, for JSON."""
    return None if seconds is None else round(seconds * MS_PER_S, 3)


def ms(seconds: float | None) -> str:
    """Milliseconds, to a tenth."""
    return number(to_ms(seconds), ".1f")


def figure(spread: Spread | None, name: str) -> str:
    """The mean or a percentile in ms, with a star if it has too few values."""
    if spread is None:
        return UNMEASURED
    return f"{spread.value_s(name) * MS_PER_S:.1f}" + ("" if spread.supports(name) else "*")


def between(interval: Interval | None, form: str, scale: float = 1.0) -> str:
    """An interval, empty where there is none."""
    return "" if interval is None else f"{interval.low * scale:{form}}–{interval.high * scale:{form}}"
