"""Compares two runs, figure by figure: their difference, its interval, and whether it is more than chance.

Quality is compared item by item where both runs have the same suite (`paired`). Every other figure has its own
interval, and the interval of the difference follows from the two (Zou and Donner, 2008, "MOVER"):

    low  = b − a − √((b − b_low)² + (a_high − a)²)        high = b − a + √((b_high − b)² + (a − a_low)²)

A figure without an interval has a difference but no verdict. Each single interval has a confidence of 95 %: of twenty
figures of two equal runs, one seems to differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from statistics import fmean
from typing import NamedTuple

from slo_bench.gate.entry import QUALITY, Entry
from slo_bench.gate.paired import paired

LOW, HIGH = "_low", "_high"  # ends of the names of figures that bound another one with 95 %


class Compared(NamedTuple):
    """One figure of both runs, in the unit in its name. `n` are the common items, or the requests of each run."""

    category: str
    figure: str
    a: float
    b: float
    low: float | None = None  # of b − a, 95 %
    high: float | None = None
    n: str = ""

    @property
    def difference(self) -> float:
        """b − a."""
        return self.b - self.a

    @property
    def told_apart(self) -> bool | None:
        """Whether the interval of the difference excludes 0; `None` without an interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


def compare(a: Entry, b: Entry) -> list[Compared]:
    """Every figure that both runs have. Raises ValueError where their kinds or categories differ."""
    if (a.kind, a.category) != (b.kind, b.category):
        raise ValueError(f"compare: {a.kind} {a.category} against {b.kind} {b.category}, expected the same")
    names = [name for name in a.figures if name in b.figures and not name.endswith((LOW, HIGH))]
    return [_quality(a, b) if name == QUALITY else _figure(a, b, name) for name in names]


def is_same_work(a: Entry, b: Entry) -> bool:
    """Whether the runs had the same suite or workload. Other runs can be compared, but had different questions."""
    return a.fingerprint == b.fingerprint


def _quality(a: Entry, b: Entry) -> Compared:
    change = paired(a.scores, b.scores) if is_same_work(a, b) else None
    if change is None:
        return Compared(
            a.category, QUALITY, a.figures[QUALITY], b.figures[QUALITY], n=f"{len(a.scores)}, {len(b.scores)}"
        )
    mean, (low, high) = fmean(a.scores[item] for item in a.scores if item in b.scores), change.interval()
    return Compared(a.category, QUALITY, mean, mean + change.mean, low, high, f"{change.items} items")


def _figure(a: Entry, b: Entry, name: str) -> Compared:
    row = Compared(a.category, name, a.figures[name], b.figures[name], n=f"{a.n}, {b.n}")
    bounds = _bounds(a, name), _bounds(b, name)
    if bounds[0] is None or bounds[1] is None:
        return row
    (a_low, a_high), (b_low, b_high) = bounds[0], bounds[1]
    low = row.difference - hypot(row.b - b_low, a_high - row.a)
    high = row.difference + hypot(b_high - row.b, row.a - a_low)
    return row._replace(low=low, high=high)


def _bounds(entry: Entry, name: str) -> tuple[float, float] | None:
    low, high = entry.figures.get(name + LOW), entry.figures.get(name + HIGH)
    return None if low is None or high is None else (low, high)


def rows_of(pairs: Sequence[tuple[Entry, Entry]]) -> list[Compared]:
    """The compared figures of all pairs, in their order."""
    return [row for a, b in pairs for row in compare(a, b)]
