"""The results of a suite: one grade per item, and the scores by item of each cell (a deployment in a category).

An error or a timeout is not a wrong answer. It is counted separately, like an answer that could not be graded. A cell
with scores for less than `ENOUGH` of its items is not published, for the missing items may be the hard ones.

Two deployments are compared item by item, on items with a score of both. Among many pairs some differ by chance, so
each interval has the confidence 1 − 0.05/pairs (Bonferroni).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from slo_bench.gate.entry import GateVerdict
from slo_router.contract.intervals import CONFIDENCE, Interval, difference_interval, mean_interval

ENOUGH = 0.9  # of a cell's items


class Grade(NamedTuple):
    """One item of one deployment: a score in 0..1, or the problem that prevented one. Times are Unix seconds."""

    item_id: str
    score: float | None
    problem: str | None = None
    cut: bool = False  # the answer ended at its length limit; it is graded as it stands
    answered_at_s: float | None = None
    excuse: str | None = None  # why the problem says nothing about the deployment, and what to do


@dataclass(frozen=True, slots=True)
class CellScores:
    """One deployment in one category. Scores with different `fingerprint`s, of the suite, don't compare."""

    deployment_id: str
    model: str
    category: str
    fingerprint: str
    planned: int  # items of the suite
    scores: Mapping[str, float] = field(default_factory=dict)  # item id → 0..1
    problems: Mapping[str, int] = field(default_factory=dict)  # by class
    excuses: Mapping[str, int] = field(default_factory=dict)  # number of problems by excuse, in words
    cut: int = 0
    answered_at_s: float | None = None  # Unix seconds of the oldest answer that a score rests on
    published: bool | None = None  # None: the run writes nothing to Redis
    verdict: GateVerdict | None = None  # of the regression gate, where it judged

    @property
    def n(self) -> int:
        """Items with a score."""
        return len(self.scores)

    @property
    def mean(self) -> float | None:
        """The quality, 0..1."""
        return fmean(self.scores.values()) if self.scores else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the mean; `None` with too few items."""
        return mean_interval(list(self.scores.values()))

    @property
    def unfinished(self) -> int:
        """Items that were not reached, for time or budget was used up."""
        return self.planned - self.n - sum(self.problems.values())

    @property
    def publishable(self) -> bool:
        """Whether enough of the items have a score."""
        return self.n > 0 and self.n >= ENOUGH * self.planned


def with_grades(cell: CellScores, grades: Sequence[Grade]) -> CellScores:
    """The cell with its grades summed up."""
    graded = [grade for grade in grades if grade.score is not None]
    times_s = [grade.answered_at_s for grade in graded if grade.answered_at_s is not None]
    problems = Counter(grade.problem for grade in grades if grade.problem is not None)
    return replace(
        cell,
        scores={grade.item_id: grade.score for grade in graded if grade.score is not None},
        problems=dict(sorted(problems.items())),
        excuses=dict(Counter(grade.excuse for grade in grades if grade.excuse is not None).most_common()),
        cut=sum(grade.cut for grade in grades),
        answered_at_s=min(times_s, default=None),
    )


class PairDifference(NamedTuple):
    """`first` − `second` on their `n` common items, −1..1; `interval` is `None` where they are too few."""

    category: str
    first: str
    second: str
    n: int
    mean: float
    interval: Interval | None

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and self.interval.excludes_zero


def compare(cells: Sequence[CellScores]) -> list[PairDifference]:
    """All pairs of each category, the better deployment first."""
    categories = dict.fromkeys(cell.category for cell in cells)
    return [one for category in categories for one in _of_category([c for c in cells if c.category == category])]


def _of_category(cells: Sequence[CellScores]) -> list[PairDifference]:
    ranked = sorted((cell for cell in cells if cell.scores), key=lambda cell: -(cell.mean or 0.0))
    pairs = list(combinations(ranked, 2))
    return [_difference(*pair, confidence=1 - (1 - CONFIDENCE) / len(pairs)) for pair in pairs]


def _difference(first: CellScores, second: CellScores, *, confidence: float) -> PairDifference:
    common = [item for item in first.scores if item in second.scores]
    differences = [first.scores[item] - second.scores[item] for item in common]
    mean = fmean(differences) if differences else 0.0
    interval = difference_interval(differences, confidence)
    return PairDifference(first.category, first.deployment_id, second.deployment_id, len(common), mean, interval)
