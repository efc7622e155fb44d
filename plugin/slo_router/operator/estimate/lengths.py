"""How many tokens another model would have answered with, as a multiple of the tokens that were written.

same model    1
outcomes      both answered the same prompts of an outcomes table: the ratio of their tokens, with its interval
learned       one group sent requests to both: the ratio over prompts of like length, with its interval. It holds
              if the group sent both the same kind of requests
assumed       1, from 0.5 to 2
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slo_router.contract.intervals import Z95
from slo_router.operator.estimate.totals import Stratum, Sums

FEWEST = 50  # answers of each of the two models
_FEWEST_ALIKE = 5  # likewise, to prompts of one length
SPREAD = (0.5, 2.0)


class Factor(NamedTuple):
    """How many times as long answers are, with the ends of what is plausible. `source` is one of the module's."""

    middle: float
    low: float
    high: float
    source: str
    answers: int = 0  # of the candidate, on which the factor rests


SAME = Factor(1.0, 1.0, 1.0, "same model")
ASSUMED = Factor(1.0, *SPREAD, "assumed")


class Written(NamedTuple):
    """Answers to prompts of one length."""

    answers: int
    tokens: int
    squares: int


Kind = tuple[str, str, str]  # group, task, model


class Lengths:
    """What the rows tell of the lengths of answers."""

    def __init__(self, strata: Mapping[Stratum, Sums], models: Mapping[str, str]) -> None:
        found: defaultdict[Kind, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
        for stratum, sums in strata.items():
            model = bare(models.get(stratum.served, stratum.served))
            for task in (stratum.task, ""):  # each task, and all together
                kept = found[stratum.group, task, model][stratum.size]
                kept[0] += sums.requests
                kept[1] += sums.answer
                kept[2] += sums.answer_squares
        self._found = {
            kind: {size: Written(*kept) for size, kept in by_size.items()} for kind, by_size in found.items()
        }

    def learned(self, group: str, task: str, served: str, other: str) -> Factor | None:
        """How many times as long `other` answers as `served` (bare names of models); `None` with too few answers."""
        for kind in (task, ""):
            factor = _ratio(self._found.get((group, kind, served), {}), self._found.get((group, kind, other), {}))
            if factor is not None:
                return factor
        return None


def bare(model: str) -> str:
    """A model's name without its provider."""
    return model.rpartition("/")[2]


def _ratio(served: Mapping[int, Written], other: Mapping[int, Written]) -> Factor | None:
    """The ratio of the mean answers, over the prompt lengths that both have, weighted by the answers of `served`."""
    sizes = [
        size for size, one in served.items() if size in other and min(one.answers, other[size].answers) >= _FEWEST_ALIKE
    ]
    if not sizes or min(sum(one[size].answers for size in sizes) for one in (served, other)) < FEWEST:
        return None
    weights = {size: served[size].answers for size in sizes}
    own, own_error = _mean(weights, served)
    theirs, their_error = _mean(weights, other)
    if not own or not theirs:
        return None
    half = Z95 * math.hypot(own_error / own, their_error / theirs)
    middle = theirs / own
    answers = sum(other[size].answers for size in sizes)
    return Factor(middle, middle * math.exp(-half), middle * math.exp(half), "learned", answers)


def _mean(weights: Mapping[int, int], written: Mapping[int, Written]) -> tuple[float, float]:
    """The weighted mean of an answer's tokens, and its standard error."""
    total = sum(weights.values())
    mean = variance = 0.0
    for size, weight in weights.items():
        answers, tokens, squares = written[size]
        own = tokens / answers
        mean += weight / total * own
        variance += (weight / total) ** 2 * max(squares / answers - own * own, 0.0) / (answers - 1)
    return mean, math.sqrt(variance)


def widest(factors: Iterable[Factor]) -> Factor | None:
    """One factor for a table: the middle that rests on the most answers, from the lowest end to the highest."""
    found = list(factors)
    if not found:
        return None
    middle = max(found, key=lambda one: one.answers)
    return Factor(
        middle.middle, min(one.low for one in found), max(one.high for one in found), middle.source, middle.answers
    )
