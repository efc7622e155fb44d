"""What answers are expected to be like before any of their own kind was seen: from their relatives. Pure.

    writer and category  →  writer  →  category  →  what the benchmark measured  →  what is assumed

A writer is a model as one or several deployments have it. Its answers are held against what was assumed of them, as
the logarithm of a ratio, and that is taken for the sum of what its category adds, what the writer adds and what it adds
where it is asked to think more or less. Each of these is shrunk towards 0: one that little is known of adds little. So
a writer that is three times as long as the others in two categories is expected to be so in the third.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Hashable, Iterable, Mapping
from typing import NamedTuple

from slo_router.request.features import MAX_BUDGET, OUTPUT_TOKENS, OUTPUT_TOKENS_ELSE
from slo_router.request.lengths import ASSUMED_ANSWERS

SHRINK = 5.0  # answers that make half of a difference be believed
MOST_OF_ONE = 20.0  # answers that one kind counts as at most: more of them tell of it alone
SWEEPS = 4
EFFORTS = {"none": 0.3, "minimal": 0.3, "low": 0.5, "medium": 1.0, "high": 2.0, "xhigh": 3.0}  # times as long: assumed
_BUDGETS = frozenset(f"~{1 << power}" for power in range(MAX_BUDGET.bit_length()))
BUDGET_USED = 0.5  # of a budget for thinking, in the mean: assumed

Measured = Mapping[tuple[str, str], tuple[float, float]]  # writer and category → mean tokens, and of how many answers


class Kind(NamedTuple):
    """Answers that are expected to be alike."""

    writer: str
    category: str
    effort: str = ""

    @property
    def parents(self) -> tuple[Hashable, ...]:
        """What it shares with others, each of another sort."""
        return ("category", self.category), ("writer", self.writer), ("effort", self.writer, self.effort)


Added = Mapping[Hashable, float]
Found = Mapping[Kind, tuple[float, float]]  # the logarithm of found ÷ assumed, and of how many answers


def added_by(found: Found) -> Generator[None, None, Added]:
    """What each parent adds to the logarithm of a length, worked out step by step."""
    kinds = [
        (kind.parents, ratio, answers * MOST_OF_ONE / (answers + MOST_OF_ONE))
        for kind, (ratio, answers) in found.items()
        if answers > 0
    ]
    added: dict[Hashable, float] = {}
    for sort in (0, 1, 2) * SWEEPS:
        sums: defaultdict[Hashable, list[float]] = defaultdict(lambda: [0.0, SHRINK])
        for parents, ratio, weight in kinds:
            own, others = parents[sort], [*parents[:sort], *parents[sort + 1 :]]
            total = sums[own]
            total[0] += weight * (ratio - sum([added.get(parent, 0.0) for parent in others]))
            total[1] += weight
        added |= {parent: total / weight for parent, (total, weight) in sums.items()}
        yield
    return added


class Assumed:
    """What is assumed of each kind before its traffic: what a benchmark `measured` of it or of its relatives.

    `thinkers` are the writers that are known to think.
    """

    def __init__(self, measured: Measured, added: Added, thinkers: Iterable[str]) -> None:
        self._measured = measured
        self._added = added
        self._thinkers = frozenset(thinkers)

    def tokens(self, kind: Kind) -> float:
        """The mean of one answer."""
        plain = kind._replace(effort="")
        mean = prior_of(kind.category) * times(plain, self._added)
        own, answers = self._measured.get((kind.writer, kind.category), (0.0, 0.0))
        mean = (answers * own + ASSUMED_ANSWERS * mean) / (answers + ASSUMED_ANSWERS)
        if not kind.effort or kind.writer not in self._thinkers:
            return mean
        if kind.effort.startswith("~"):
            return mean + BUDGET_USED * float(kind.effort[1:])
        return mean * EFFORTS[kind.effort]


NOTHING_MEASURED = Assumed({}, {}, ())


def assuming(measured: Measured, thinkers: Iterable[str]) -> Generator[None, None, Assumed]:
    """What is assumed where a benchmark measured this, worked out step by step."""
    found = {
        Kind(writer, category): (math.log(mean / prior_of(category)), answers)
        for (writer, category), (mean, answers) in measured.items()
    }
    return Assumed(measured, (yield from added_by(found)), thinkers)


def times(kind: Kind, added: Added) -> float:
    """How many times as long as assumed its answers are expected to be."""
    return math.exp(sum([added.get(parent, 0.0) for parent in kind.parents]))


def is_effort(asked: str) -> bool:
    """Whether `features.extract` could have found it."""
    return not asked or asked in EFFORTS or asked in _BUDGETS


def prior_of(category: str) -> float:
    """Tokens of an answer of which only the category is known."""
    return float(OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE))
