"""The distribution of an answer's length in tokens. Pure.

A decision reads `Length`: the expected tokens within a limit, quantiles, and the chance that an answer is no longer
than a limit. `Seen` holds the observed answers of one kind. Its `posterior` makes the `Length`.

A cut answer (by max_tokens, or because the client left) tells only a least length. It is censored: by the product-limit
estimate (Kaplan and Meier, 1958) it counts for every length up to its own, and for none beyond. The prior counts like
`ASSUMED_ANSWERS` further answers with a log-normal length. Without observations only the prior counts. Beyond the
longest complete answer, the prior alone tells how long an answer may get.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from slo_router.contract.ages import LENGTH_HALF_LIFE_S
from slo_router.contract.model import LEVELS

SPREAD = 0.86  # standard deviation of ln(tokens) over 19,366 answers of a public chat service (Azure, 2023)
ASSUMED_ANSWERS = 5.0
LAST_ANSWERS = 100.0  # the last so many answers have two thirds of the weight
LONGEST_ANSWER = 1_000_000  # tokens; a longer report counts as this
LEAST_SHOWN = 0.001
_EXACT = 16  # tokens; up to here each length is kept, above lengths are rounded by at most 4.5 %
_PER_OCTAVE = 8
_POINTS = 64
_MOST_GAIN = 1e9
_LEAST = 1e-9  # tokens; a scale is never 0, for lengths are divided by it

_raw = [math.exp(SPREAD * NormalDist().inv_cdf((i + 0.5) / _POINTS)) for i in range(_POINTS)]
_UNIT = tuple(value * _POINTS / sum(_raw) for value in _raw)  # equally likely lengths of mean 1


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of one answer. `values` and `partial` are in units of `scale` tokens. The tuples go from short to long."""

    mean: float
    scale: float
    values: tuple[float, ...]
    below: tuple[float, ...]  # the chance that an answer is no longer than the value; 1 for the last
    partial: tuple[float, ...]  # the part of the mean that answers no longer than the value contribute
    levels: tuple[float, ...]  # the value that an answer does not exceed with each chance of `LEVELS`
    answers: float = 0.0  # observed answers behind it, by their present weight
    shown: float = 1.0  # the part of an answer's tokens that the client sees; the rest is hidden reasoning

    def within(self, limit_tokens: float | None) -> float:
        """The expected tokens of an answer that is cut at `limit_tokens`; `None` is no limit."""
        if limit_tokens is None:
            return self.mean
        limit = limit_tokens / self.scale
        place = bisect_right(self.values, limit) - 1
        if place < 0:
            return limit_tokens
        return (self.partial[place] + limit * (1.0 - self.below[place])) * self.scale

    def hidden(self, limit_tokens: float | None) -> float:
        """The expected tokens of such an answer that the client does not see."""
        return 0.0 if self.shown >= 1.0 else self.within(limit_tokens) * (1.0 - self.shown)

    def at(self, position: int) -> float:
        """The tokens that an answer does not exceed with the chance at that position among `LEVELS`."""
        return self.levels[position] * self.scale

    def quantile(self, level: float) -> float:
        """The tokens that an answer does not exceed with the chance `level` (0..1)."""
        return self.values[bisect_left(self.below, level)] * self.scale

    def chance(self, tokens: float) -> float:
        """The chance (0..1) that an answer is no longer than `tokens`, interpolated between two known lengths."""
        asked = tokens / self.scale
        after = bisect_right(self.values, asked)
        if after == len(self.values):
            return 1.0
        value, before = (self.values[after - 1], self.below[after - 1]) if after else (0.0, 0.0)
        return before + (self.below[after] - before) * max(asked - value, 0.0) / (self.values[after] - value)


def _made(points: Iterable[tuple[float, float]], scale: float, answers: float, shown: float = 1.0) -> Length:
    """The `Length` of values and their chances, given from short to long."""
    values, below, partial = list[float](), list[float](), list[float]()
    chance = mean = 0.0
    for value, share in points:
        chance, mean = chance + share, mean + share * value
        values.append(value)
        below.append(chance)
        partial.append(mean)
    below[-1] = 1.0
    levels = tuple([values[bisect_left(below, level)] for level in LEVELS])
    return Length(mean * scale, scale, tuple(values), tuple(below), tuple(partial), levels, answers, shown)


_ASSUMED = _made(((value, 1 / _POINTS) for value in _UNIT), 1.0, 0.0)


def assumed(mean: float, shown: float = 1.0) -> Length:
    """The prior around a `mean` in tokens, above 0."""
    made = _ASSUMED
    return Length(mean, max(mean, _LEAST), made.values, made.below, made.partial, made.levels, shown=shown)


class Seen:
    """The observed answers of one kind. The latest count most. Times are Unix seconds."""

    __slots__ = ("_at_s", "_cut", "_ended", "_gain", "_hidden", "_tokens", "_total")

    def __init__(self) -> None:
        self._ended: dict[float, float] = {}  # weight by tokens, of complete answers
        self._cut: dict[float, float] = {}  # weight by tokens, of answers that were cut
        self._gain = 1.0  # the weight of the latest answer; it grows, so that the older ones need no update
        self._total = 0.0
        self._tokens = self._hidden = 0.0  # of all answers, by their weight
        self._at_s = 0.0

    def add(self, tokens: int, at_s: float, *, is_cut: bool, hidden: int = 0) -> None:
        """Counts one more answer of `tokens`, ended at `at_s`; the client does not see `hidden` of them."""
        if self._total:
            self._gain *= _growth(at_s - self._at_s) * LAST_ANSWERS / (LAST_ANSWERS - 1)
        self._at_s = max(self._at_s, at_s)
        kept = self._cut if is_cut else self._ended
        rounded = bucket(min(tokens, LONGEST_ANSWER))
        kept[rounded] = kept.get(rounded, 0.0) + self._gain
        self._total += self._gain
        self._tokens += self._gain * rounded
        self._hidden += self._gain * rounded * min(hidden / max(tokens, 1), 1.0)
        if self._gain > _MOST_GAIN:
            self._lighten()

    def _lighten(self) -> None:
        for name in ("_ended", "_cut"):
            lighter = {tokens: weight / self._gain for tokens, weight in getattr(self, name).items()}
            setattr(self, name, {tokens: weight for tokens, weight in lighter.items() if weight > 1 / _MOST_GAIN})
        self._total /= self._gain
        self._tokens /= self._gain
        self._hidden /= self._gain
        self._gain = 1.0

    def answers(self, now_s: float) -> float:
        """The number of answers, by their weight at `now_s`."""
        return self._total / (self._gain * _growth(now_s - self._at_s))

    def tokens(self, now_s: float) -> tuple[float, float]:
        """The tokens of the answers, and the hidden ones of them, by their weight at `now_s`."""
        weight = self._gain * _growth(now_s - self._at_s)
        return self._tokens / weight, self._hidden / weight

    def posterior(
        self, mean: float, now_s: float, assumed_answers: float = ASSUMED_ANSWERS, shown: float = 1.0
    ) -> Length:
        """The lengths to expect at `now_s`, with a prior of `mean` tokens that counts as `assumed_answers`.

        `shown` is the prior of the part that the client sees.
        """
        one = assumed_answers * self._gain * _growth(now_s - self._at_s) / _POINTS
        ended = dict(self._ended)
        for unit in _UNIT:
            ended[unit * mean] = ended.get(unit * mean, 0.0) + one
        (tokens, hidden), more = self.tokens(now_s), assumed_answers * mean
        part = shown_part(tokens + more, hidden + more * (1.0 - shown))
        return _made(_product_limit(ended, self._cut), 1.0, self.answers(now_s), part)


def shown_part(tokens: float, hidden: float) -> float:
    """The part of tokens that the client sees; never 0, for times are divided by it."""
    return max(1.0 - hidden / tokens, LEAST_SHOWN) if tokens > 0 else 1.0


def _product_limit(ended: Mapping[float, float], cut: Mapping[float, float]) -> Iterable[tuple[float, float]]:
    """Lengths and their chances, from short to long. An answer that was cut beyond all others ends at its cut."""
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
    """The factor by which an answer weighs more than one `passed_s` seconds before."""
    return float(2.0 ** min(max(passed_s, 0.0) / LENGTH_HALF_LIFE_S, 60.0))


def bucket(tokens: int) -> int:
    """The length as which an answer of `tokens` is kept: few are told apart, so few are kept."""
    if tokens <= _EXACT:
        return max(tokens, 1)
    return round(2 ** (round(_PER_OCTAVE * math.log2(tokens)) / _PER_OCTAVE))
