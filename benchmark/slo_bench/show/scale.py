"""Axes: where a value lies on a line of a given length, and which values are written beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import NamedTuple

STEPS = (1, 2, 5)


class Scale(NamedTuple):
    """From `low` to `high` over `length`; logarithmic scales are for values above 0."""

    low: float
    high: float
    length: float
    is_log: bool

    def at(self, value: float) -> float:
        """The place of a value, 0 at `low`."""
        if self.is_log:
            share = log10(value / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return share * self.length

    def ticks(self) -> list[float]:
        """Round values within the scale, from two to about seven."""
        if not self.is_log:
            return _linear_ticks(self.low, self.high)
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        found = _within(self, [step * 10.0**decade for decade in decades for step in STEPS])
        return found if len(found) <= 8 else _within(self, [10.0**decade for decade in decades])


def logarithmic(values: Sequence[float], length: float) -> Scale:
    """A scale around values above 0, with some room."""
    low, high = min(values), max(values)
    room = (high / low) ** 0.06 if high > low else 2.0
    return Scale(low / room, high * room, length, is_log=True)


def from_zero(values: Sequence[float], length: float) -> Scale:
    """A scale from 0 to a little above the highest value."""
    return Scale(0.0, 1.08 * max(values) or 1.0, length, is_log=False)


def around(values: Sequence[float], length: float, low: float, high: float) -> Scale:
    """A scale around the values, with some room, but not beyond `low` and `high`."""
    room = 0.12 * (max(values) - min(values)) or 0.1
    return Scale(max(min(values) - room, low), min(max(values) + room, high), length, is_log=False)


def over_time(values: Sequence[float], length: float) -> Scale:
    """A scale from the first to the last value."""
    low, high = min(values), max(values)
    return Scale(low, high if high > low else low + 1.0, length, is_log=False)


def written(ticks: Sequence[float], scale: Scale, form: Callable[[float], str]) -> list[tuple[float, str]]:
    """Places and texts."""
    return [(round(scale.at(tick), 1), form(tick)) for tick in ticks]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    decade = 10.0 ** floor(log10(rough))
    step = next(size * decade for size in (1, 2, 2.5, 5, 10) if size * decade >= rough)
    first = ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, floor(high / step + 1e-9) + 1)]


def _within(scale: Scale, values: Sequence[float]) -> list[float]:
    return [value for value in values if scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9)]
