"""How figures stand in a table: in milliseconds, a dash for what is unmeasured, a star for what too few values say."""

from __future__ import annotations

from slo_bench.summary.spreads import Spread
from slo_router.contract.intervals import Interval
from slo_router.contract.units import MS_PER_S

UNMEASURED = "–"


def number(value: float | None, form: str, unit: str = "") -> str:
    """A value in a format of its own, with its unit behind it."""
    return UNMEASURED if value is None else format(value, form) + unit


def figure(spread: Spread | None, name: str) -> str:
    """The mean or a percentile in ms; starred where the number of values cannot support it."""
    if spread is None:
        return UNMEASURED
    return f"{spread.value_s(name) * MS_PER_S:.1f}" + ("" if spread.supports(name) else "*")


def between(interval: Interval | None, form: str, scale: float = 1.0) -> str:
    """An interval, empty where there is none."""
    return "" if interval is None else f"{interval.low * scale:{form}}–{interval.high * scale:{form}}"
