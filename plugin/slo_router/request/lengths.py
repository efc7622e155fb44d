"""How long an answer gets, as a distribution. Pure.

`Length` is what a decision reads: the expected tokens within a limit, the length that a share of the answers stays
below, the chance that one does. `Seen` is what was observed of one kind of answers, and `posterior` makes the one of
the other.

An answer that was cut short, by the client's max_tokens or because the client left, says "at least": by the
product-limit estimate (Kaplan and Meier, 1958) it counts for every length up to its own, and for none beyond. What is
assumed beforehand counts like `ASSUMED_ANSWERS` further answers, which are log-normal: with nothing seen they are all
that there is, and beyond the longest answer that was seen to its end they tell how long it may get.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import NamedTuple

from slo_router.contract.ages import LENGTH_HALF_LIFE_S

SPREAD = 0.86  # standard deviation of the logarithm, of 19,366 answers of a public chat service (Azure, 2023)
ASSUMED_ANSWERS = 5.0
LAST_ANSWERS = 100.0  # carry two thirds of the weight
LONGEST_ANSWER = 1_000_000  # tokens: a server that reports more counts as if it had said this
LONG, SHORT = 0.95, 0.05  # nine answers in ten are between the two
_EXACT = 16  # tokens up to which each length is kept apart; above, those within 4.5 %
_PER_OCTAVE = 8
_POINTS = 64
_MOST_GAIN = 1e9
_LEAST = 1e-9  # of a scale, which tokens are divided by

_raw = [math.exp(SPREAD * NormalDist().inv_cdf((i + 0.5) / _POINTS)) for i in range(_POINTS)]
_UNIT = tuple(value * _POINTS / sum(_raw) for value in _raw)  # equally likely lengths of mean 1


class Length(NamedTuple):
    """Tokens of one answer. What stands in the tuples is in units of `scale` tokens, from short to long."""

    mean: float
    scale: float
    values: tuple[float, ...]
    below: tuple[float, ...]  # the chance that an answer is no longer than the value
    partial: tuple[float, ...]  # what those that are no longer contribute to the mean
    answers: float = 0.0  # that it rests on, as they weigh now

    def within(self, limit_tokens: float | None) -> float:
        """The expected tokens of an answer that ends at a limit at the latest."""
        if limit_tokens is None:
            return self.mean
        limit = limit_tokens / self.scale
        place = bisect_right(self.values, limit) - 1
        if place < 0:
            return limit_tokens
        return (self.partial[place] + limit * (1.0 - self.below[place])) * self.scale

    def quantile(self, level: float) -> float:
        """The tokens that an answer does not exceed with this chance."""
        place = bisect_left(self.below, level)
        return self.values[min(place, len(self.values) - 1)] * self.scale

    def chance(self, tokens: float) -> float:
        """The chance that an answer is no longer than this; between two lengths that were seen, in proportion."""
        asked = tokens / self.scale
        after = bisect_right(self.values, asked)
        if after == len(self.values):
            return 1.0
        value, before = (self.values[after - 1], self.below[after - 1]) if after else (0.0, 0.0)
        return before + (self.below[after] - before) * max(asked - value, 0.0) / (self.values[after] - value)


def _made(points: Iterable[tuple[float, float]], scale: float, answers: float) -> Length:
    """Of values and their chances, from short to long."""
    values, below, partial = list[float](), list[float](), list[float]()
    chance = mean = 0.0
    for value, share in points:
        chance, mean = chance + share, mean + share * value
        values.append(value)
        below.append(chance)
        partial.append(mean)
    below[-1] = 1.0
    return Length(mean * scale, scale, tuple(values), tuple(below), tuple(partial), answers)


_ASSUMED = _made(((value, 1 / _POINTS) for value in _UNIT), 1.0, 0.0)


def assumed(mean: float) -> Length:
    """What answers are like of which nothing is known but what they are expected to be, tokens above 0."""
    return _ASSUMED._replace(mean=mean, scale=max(mean, _LEAST))


class Seen:
    """The answers of one kind, the latest of which count most. Times are Unix seconds."""

    __slots__ = ("_at_s", "_cut", "_ended", "_gain", "_total")

    def __init__(self) -> None:
        self._ended: dict[float, float] = {}  # weight by tokens: of answers that ended by themselves …
        self._cut: dict[float, float] = {}  # … and of those that were cut short
        self._gain = 1.0  # the weight of the latest: instead of all others getting lighter, each is heavier than before
        self._total = 0.0
        self._at_s = 0.0

    def add(self, tokens: int, at_s: float, *, is_cut: bool) -> None:
        """One more answer."""
        if self._total:
            self._gain *= _growth(at_s - self._at_s) * LAST_ANSWERS / (LAST_ANSWERS - 1)
        self._at_s = max(self._at_s, at_s)
        kept = self._cut if is_cut else self._ended
        rounded = _rounded(min(tokens, LONGEST_ANSWER))
        kept[rounded] = kept.get(rounded, 0.0) + self._gain
        self._total += self._gain
        if self._gain > _MOST_GAIN:
            self._lighten()

    def _lighten(self) -> None:
        for name in ("_ended", "_cut"):
            lighter = {tokens: weight / self._gain for tokens, weight in getattr(self, name).items()}
            setattr(self, name, {tokens: weight for tokens, weight in lighter.items() if weight > 1 / _MOST_GAIN})
        self._total /= self._gain
        self._gain = 1.0

    def answers(self, now_s: float) -> float:
        """How many it holds, as they weigh now."""
        return self._total / (self._gain * _growth(now_s - self._at_s))

    def posterior(self, mean: float, now_s: float, assumed_answers: float = ASSUMED_ANSWERS) -> Length:
        """The lengths to expect, where `mean` tokens were assumed."""
        one = assumed_answers * self._gain * _growth(now_s - self._at_s) / _POINTS
        ended = dict(self._ended)
        for unit in _UNIT:
            ended[unit * mean] = ended.get(unit * mean, 0.0) + one
        return _made(_product_limit(ended, self._cut), 1.0, self.answers(now_s))


def _product_limit(ended: Mapping[float, float], cut: Mapping[float, float]) -> Iterable[tuple[float, float]]:
    """Lengths and their chances, from short to long; what was cut beyond the longest ends where it was cut."""
    at_risk, left = sum(ended.values()) + sum(cut.values()), 1.0
    values = sorted(ended.keys() | cut.keys())
    for value in values[:-1]:
        over = ended.get(value, 0.0)
        if over:
            share = left * over / at_risk
            left -= share
            yield value, share
        at_risk -= over + cut.get(value, 0.0)
    yield values[-1], left


def _growth(passed_s: float) -> float:
    """What an answer that came so much later weighs more."""
    return float(2.0 ** min(max(passed_s, 0.0) / LENGTH_HALF_LIFE_S, 60.0))


def _rounded(tokens: int) -> int:
    if tokens <= _EXACT:
        return max(tokens, 1)
    return round(2 ** (round(_PER_OCTAVE * math.log2(tokens)) / _PER_OCTAVE))
