"""Sums over observations that fade, add up and travel as JSON: all that the fit and the spread need.

An observation is a row (y, 1, features) ÷ scale. The sum of the rows' products with themselves is all that least
squares asks of them, and sums of several workers add up to what one observer of all would hold.

Of the ratios observed ÷ predicted the counts in DDSketch's logarithmic bins are kept, 5 % wide to either side. The
mapping is the library's; the counts are kept here, for its sketch can neither fade nor be written as JSON, and its
ranks take every weight for 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from ddsketch.mapping import LogarithmicMapping

MIN_RATIO, MAX_RATIO = 0.02, 50.0
_MAPPING = LogarithmicMapping(0.05)
_LOWEST, _HIGHEST = int(_MAPPING.key(MIN_RATIO)), int(_MAPPING.key(MAX_RATIO))
_MAX_COUNT = 1e9
_MAX_PRODUCT = 1e30
_NOTHING = 1e-9  # a bin that faded below is empty


@dataclass(slots=True)
class Sums:
    """How many, the rows' `products_of`, and the ratios' counts by bin. Bounded: 79 bins at most."""

    count: float
    products: list[float]
    bins: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of_length(cls, length: int) -> Sums:
        """Empty sums of `length` products."""
        return cls(0.0, [0.0] * length)

    def add(self, products: Sequence[float], key: int | None, weight: float) -> None:
        """Counts one row's `products`, and the bin of its ratio unless that is `None`."""
        self.count += weight
        self.products = [held + weight * new for held, new in zip(self.products, products, strict=True)]
        if key is not None:
            self.bins[key] = self.bins.get(key, 0.0) + weight

    def faded(self, factor: float) -> Sums:
        """Everything multiplied by `factor`, 0..1."""
        bins = {key: left for key, value in self.bins.items() if (left := value * factor) > _NOTHING}
        return Sums(self.count * factor, [value * factor for value in self.products], bins)

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        bins = dict(self.bins)
        for key, value in other.bins.items():
            bins[key] = bins.get(key, 0.0) + value
        products = [mine + theirs for mine, theirs in zip(self.products, other.products, strict=True)]
        return Sums(self.count + other.count, products, bins)

    def to_json(self) -> list[object]:
        """`[count, products, lowest bin, counts from there on]`, short enough to be sent every second."""
        first, last = min(self.bins, default=0), max(self.bins, default=-1)
        counts = [_short(self.bins.get(key, 0.0), 6) for key in range(first, last + 1)]
        return [_short(self.count, 9), [_short(value, 11) for value in self.products], first, counts]

    @classmethod
    def from_json(cls, value: object, length: int) -> Sums | None:
        """What `to_json` wrote of sums of `length` products; `None` for anything else."""
        match value:
            case [int() | float() as count, [*products], int(first), [*counts]]:
                pass
            case _:
                return None
        if len(products) != length or first < _LOWEST or first + len(counts) > _HIGHEST + 1:
            return None
        if not (0 <= count <= _MAX_COUNT and _numbers(counts, _MAX_COUNT) and _numbers(products, _MAX_PRODUCT)):
            return None
        return cls(count, products, {first + i: n for i, n in enumerate(counts) if n})


def products_of(row: Sequence[float], alternatives: Sequence[float] = ()) -> list[float]:
    """The upper triangle of the row's products with itself; then each alternative last one's with row and itself."""
    products = [left * right for i, left in enumerate(row) for right in row[i:]]
    for last in alternatives:
        products += [last * value for value in row]
        products.append(last * last)
    return products


def square(products: Sequence[float], size: int, alternative: int | None = None) -> list[list[float]]:
    """The symmetric matrix of the products of rows of `size` numbers, with one of the alternatives or with none."""
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
    """The bin of a ratio, those beyond 0.02 … 50 counted as if there."""
    return int(_MAPPING.key(min(max(ratio, MIN_RATIO), MAX_RATIO)))


def quantiles(bins: dict[int, float], levels: Sequence[float]) -> tuple[float, ...]:
    """The ratios that a share of `levels` (rising) of the counts stays below; within a bin by interpolation."""
    whole = sum(bins.values())
    below, found = 0.0, []
    remaining = list(levels)
    for key in sorted(bins):
        upper = _MAPPING.value(key) * (1 + _MAPPING.gamma) / 2
        while remaining and remaining[0] * whole <= below + bins[key]:
            found.append(upper * _MAPPING.gamma ** ((remaining.pop(0) * whole - below) / bins[key] - 1))
        below += bins[key]
    return tuple(found + [MAX_RATIO] * len(remaining))


def _short(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _numbers(values: list[object], most: float) -> TypeGuard[list[float]]:
    return all(isinstance(value, int | float) and 0 <= value <= most for value in values)
