"""Where graded answers come from, and what an answer from there is worth.

A suite's grader is nearly right, a user's thumb is often wrong. The errors of shadow evaluation are of another kind:
`comparing` weighs what it says of a level, and what comes out counts as the suite's. If a source turns each score over
with the chance e, it shows e + (1 − 2e)·p of a deployment whose true quality is p. So it draws every quality towards
one half. Nobody knows e, but it lies between two ends. A share is corrected by the end that gives the lower quality, so
that a doubt never raises it. If the suite graded the same cells, too, the ends are learned (`learn`). Summed over
cells, e = Σ(suite − other) ÷ Σ(2·suite − 1), with the interval of a ratio.

Correcting also makes a noisy answer count for less, (1 − 2e)²·p(1−p) ÷ shown(1−shown): a fifth at e = 0.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.intervals import PairSums, ratio

SUITE, PAIRED, FEEDBACK = "suite", "paired", "feedback"
IMPLICIT = "weak_implicit"  # no graded answers: see `weak`
MOST_NOISE = 0.45  # at one half an answer says nothing
FEWEST_CELLS = 5  # from fewer no noise is learned
FEWEST_ANSWERS = 20  # of either source in a cell from which noise is learned


class Worth(NamedTuple):
    """What an answer of a source counts, relative to one of the suite, and the two ends of its noise (0..0.45)."""

    weight: float
    least_noise: float = 0.0
    most_noise: float = 0.0

    def success(self, score: float, answers: float) -> float:
        """The corrected sum of scores of so many answers, by the end of the noise that gives the lower sum."""
        noise = self.least_noise if 2 * score > answers else self.most_noise
        return (score - noise * answers) / (1 - 2 * noise)


Worths = Mapping[str, Worth]

WORTHS: Worths = MappingProxyType({SUITE: Worth(1.0), PAIRED: Worth(1.0), FEEDBACK: Worth(0.2, most_noise=0.2)})


class Shown(NamedTuple):
    """What a source showed in a cell: how many answers, and the sum of their scores."""

    answers: float
    score: float


def learn(source: str, cells: Iterable[Mapping[str, Shown]], worths: Worths = WORTHS) -> Worths:
    """`worths` with the ends of one source's noise by cells that the suite graded, too; unchanged if too few did."""
    pairs = []
    for cell in cells:
        suite, other = cell.get(SUITE), cell.get(source)
        if suite and other and min(suite.answers, other.answers) >= FEWEST_ANSWERS:
            truth, seen = suite.score / suite.answers, other.score / other.answers
            pairs.append((truth - seen, 2 * truth - 1))
    found = ratio(PairSums.of(pairs)) if len(pairs) >= FEWEST_CELLS else None
    if found is None:
        return worths
    low, high = (min(max(end, 0.0), MOST_NOISE) for end in found)
    return {**worths, source: worths[source]._replace(least_noise=low, most_noise=high)}
