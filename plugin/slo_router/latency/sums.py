"""Sums over observations, for the fit and the spread. They fade, they add up over workers, and they travel as JSON.

An observation is a row (y, 1, features) ÷ scale. Least squares needs only the sum of each row's products with itself.

The ratios observed ÷ predicted are counted in DDSketch's logarithmic bins, to 5 % relative accuracy. The library gives
only the mapping: its sketch cannot fade, has no JSON form, and its ranks count every weight as 1.

A worker adds thousands of these sums every second, so they are plain lists of equal length, which Python adds fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from ddsketch.mapping import LogarithmicMapping

MIN_RATIO, MAX_RATIO = 0.02, 50.0
_MAPPING = LogarithmicMapping(0.05)
_LOWEST = int(_MAPPING.key(MIN_RATIO))
BINS = int(_MAPPING.key(MAX_RATIO)) - _LOWEST + 1
_NOTHING = 1e-9  # a bin below this is set to 0

_Count = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Product = Annotated[float, msgspec.Meta(ge=0, le=1e30)]
Sent = tuple[_Count, list[_Product], int, Annotated[list[_Count], msgspec.Meta(max_length=BINS)]]
"""Sums as JSON: `[count, products, lowest bin, counts from that bin on]`."""


@dataclass(slots=True)
class Sums:
    """The number of rows, the sum of their `products_of`, and the ratios' counts by bin, the lowest bin first."""

    count: float
    products: list[float]
    bins: list[float]

    @classmethod
    def of_length(cls, length: int) -> Sums:
        """Empty sums of `length` products."""
        return cls(0.0, [0.0] * length, [0.0] * BINS)

    def add(self, products: Sequence[float], key: int | None, weight: float) -> None:
        """Counts one row's `products`, and the bin of its ratio unless that is `None`."""
        self.count += weight
        self.products = [held + weight * new for held, new in zip(self.products, products, strict=True)]
        if key is not None:
            self.bins[key] += weight

    def faded(self, factor: float) -> Sums:
        """Everything multiplied by `factor`, 0..1."""
        bins = [value * factor if value > _NOTHING else 0.0 for value in self.bins]
        return Sums(self.count * factor, [value * factor for value in self.products], bins)

    def include(self, other: Sums, weight: float) -> None:
        """Adds another's sums, multiplied by `weight`."""
        self.count += weight * other.count
        self.products = [held + weight * more for held, more in zip(self.products, other.products, strict=True)]
        self.bins = [held + weight * more for held, more in zip(self.bins, other.bins, strict=True)]

    def to_json(self) -> list[object]:
        """The sums as `Sent`, rounded so that they are short enough to send every second."""
        filled = [place for place, count in enumerate(self.bins) if count]
        first, end = (filled[0], filled[-1] + 1) if filled else (0, 0)
        counts = [_short(count, 6) for count in self.bins[first:end]]
        return [_short(self.count, 9), [_short(value, 11) for value in self.products], first + _LOWEST, counts]

    @classmethod
    def of_sent(cls, sent: Sent, length: int) -> Sums | None:
        """The sums that were sent; `None` unless they have `length` products and known bins."""
        count, products, lowest, counts = sent
        first, beyond = lowest - _LOWEST, BINS - (lowest - _LOWEST + len(counts))
        if len(products) != length or first < 0 or beyond < 0:
            return None
        return cls(count, products, [0.0] * first + counts + [0.0] * beyond)


def products_of(row: Sequence[float], alternatives: Sequence[float] = ()) -> list[float]:
    """The upper triangle of the row's products with itself.

    For each alternative last feature follow its products with the row and with itself.
    """
    products = [left * right for i, left in enumerate(row) for right in row[i:]]
    for last in alternatives:
        products += [last * value for value in row]
        products.append(last * last)
    return products


def square(products: Sequence[float], size: int, alternative: int | None = None) -> list[list[float]]:
    """The symmetric matrix of products, size × size. `alternative` (an index) adds that last feature to it."""
    matrix = [[0.0] * size for _ in range(size)]
    places = [(i, j) for i in range(size) for j in range(i, size)]
    for (i, j), value in zip(places, products, strict=False):
        matrix[i][j] = matrix[j][i] = value
    if alternative is not None:
        start = len(places) + alternative * (size + 1)
        border = products[start : start + size + 1]
        matrix = [[*row, last] for row, last in zip([*matrix, []], border, strict=True)]
        matrix[size] = list(border)
    return matrix


def bin_of(ratio: float) -> int:
    """The index of a ratio's bin. A ratio outside `MIN_RATIO` to `MAX_RATIO` counts as the nearest of the two."""
    return int(_MAPPING.key(min(max(ratio, MIN_RATIO), MAX_RATIO))) - _LOWEST


def quantiles(bins: Sequence[float], levels: Sequence[float]) -> tuple[float, ...]:
    """The ratios below which each share in `levels` (rising) of the counts lies, interpolated within a bin."""
    whole = sum(bins)
    below, found = 0.0, []
    remaining = list(levels)
    for upper, count in zip(_UPPER_EDGES, bins, strict=True):
        while remaining and count and remaining[0] * whole <= below + count:
            found.append(upper * _MAPPING.gamma ** ((remaining.pop(0) * whole - below) / count - 1))
        below += count
    return tuple(found + [MAX_RATIO] * len(remaining))


LN_RATIOS = tuple(math.log(_MAPPING.value(_LOWEST + place)) for place in range(BINS))
"""Of each bin, what its ratios' logarithms are about."""
_UPPER_EDGES = tuple(_MAPPING.value(_LOWEST + place) * (1 + _MAPPING.gamma) / 2 for place in range(BINS))


def _short(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}") if value else 0.0
