"""The expected length of answers of a kind that was not seen yet, learned from related kinds. Pure.

    writer and category  →  writer  →  category  →  what the benchmark measured  →  what is assumed

A writer is a model with the settings that change its answers' length. The logarithm of found ÷ assumed length is
modelled as a sum of three effects: of the category, of the writer, and of the writer at an effort of thinking. Each
effect is shrunk towards 0, so an effect with little evidence adds little. A writer whose answers are three times as
long as others' in two categories is expected to be so in a third.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Hashable, Iterable, Mapping
from typing import NamedTuple

from slo_router.request.features import MAX_BUDGET, OUTPUT_TOKENS, OUTPUT_TOKENS_ELSE
from slo_router.request.lengths import ASSUMED_ANSWERS

SHRINK = 5.0  # after so many answers half of a difference is believed
MOST_OF_ONE = 20.0  # one kind counts for fewer answers than this, or it would outweigh the others
SWEEPS = 4
EFFORTS = {  # length factors, assumed
    "none": 0.3,
    "minimal": 0.3,
    "low": 0.5,
    "medium": 1.0,
    "high": 2.0,
    "xhigh": 3.0,
    "max": 4.0,
}
_BUDGETS = frozenset(f"~{1 << power}" for power in range(MAX_BUDGET.bit_length()))
BUDGET_USED = 0.5  # mean share of a thinking budget that is used, assumed

Measured = Mapping[tuple[str, str], tuple[float, float]]  # writer and category → mean tokens, number of answers


class Kind(NamedTuple):
    """Answers that are expected to be alike."""

    writer: str
    category: str
    effort: str = ""

    @property
    def parents(self) -> tuple[Hashable, ...]:
        """The three effects that it shares with other kinds: category, writer, and writer at this effort."""
        return ("category", self.category), ("writer", self.writer), ("effort", self.writer, self.effort)


Added = Mapping[Hashable, float]
Found = Mapping[Kind, tuple[float, float]]  # ln(found ÷ assumed tokens), number of answers


def added_by(found: Found) -> Generator[None, None, Added]:
    """What each parent adds to the logarithm of a length. Yields between steps, so that the caller can pause."""
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
    """The mean length that is assumed of each kind before its traffic, from a benchmark of it or of related kinds.

    `measured` is the benchmark's, `added` as `added_by` returns it. `thinkers` are the writers that are known to think.
    """

    def __init__(self, measured: Measured, added: Added, thinkers: Iterable[str]) -> None:
        self._measured = measured
        self._added = added
        self._thinkers = frozenset(thinkers)

    def tokens(self, kind: Kind) -> float:
        """The mean tokens of one answer."""
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
    """What is assumed after a benchmark measured this. Yields between steps, so that the caller can pause."""
    found = {
        Kind(writer, category): (math.log(mean / prior_of(category)), answers)
        for (writer, category), (mean, answers) in measured.items()
    }
    return Assumed(measured, (yield from added_by(found)), thinkers)


def times(kind: Kind, added: Added) -> float:
    """Expected ÷ assumed length of its answers."""
    return math.exp(sum([added.get(parent, 0.0) for parent in kind.parents]))


def is_effort(asked: str) -> bool:
    """Whether `features.extract` can return this effort."""
    return not asked or asked in EFFORTS or asked in _BUDGETS


def prior_of(category: str) -> float:
    """The assumed mean tokens of a category's answers."""
    return float(OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE))
