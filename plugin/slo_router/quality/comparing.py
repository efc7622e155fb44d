"""What comparisons of two deployments' answers to the same prompts say of the quality of each.

A comparison tells a difference and no level. Assume that an answer is good or bad, and that a judge prefers a good one
to a bad one. Then, if the answers of two deployments are good with the chances p and q,

    wins ÷ n − losses ÷ n  =  (p − q) × (1 − 2·noise)        however often both are good, and whatever a tie means

A verdict is wrong with the chance `noise`. Only a verdict that is the same in both orders counts. Levels come from what
is believed of each deployment without any comparison, because its answers were graded. Typed numbers give levels only
in a category where no answer was graded. A person who types too high a number does so for all deployments, and these
errors must not add up.

Levels and differences form a net for each category. Its least squares say what to expect of a deployment from
everything but its own level. That becomes its evidence, and no piece of it counts twice.

    counts as   level × (1 − level) ÷ (variance + LEAN²)   graded answers, of which the share `level` was good; a level
                                                           below one half counts as many as one half: else a deployment
                                                           that loses all would keep its place more surely than one
                                                           that loses most

So comparisons with a deployment of which little is known say little. No number of them says more than is known of the
deployments at the other ends. A judge that likes the manner of one deployment always errs to the same side. No number
of comparisons shows that, and LEAN is how far the judge may err. The noise lies between 0 and 0.1. Comparisons fade as
all answers do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

from slo_router.contract.least_squares import inverse
from slo_router.quality.evidence import Batch, Cell, Evidence, update
from slo_router.quality.posterior import EDGE, UNTYPED_DEVIATION, Belief, Rules, believing
from slo_router.quality.sources import PAIRED

LEAN = 0.015  # of the unit interval: standard deviation of what a judge adds to a deployment for its manner alone
SCALE, SCALE_DEVIATION = 1.125, 0.072  # 1 ÷ (1 − 2·noise) lies between 1 and 1.25
ANCHOR_CONFIDENCE = 0.9  # of the bound from which a level's deviation is computed
MOST_AT_ONCE = 12  # deployments in a net: those that were compared most
LOOSE = 1e-3  # precision of a level of which nothing is known

Pair = tuple[str, str, str]  # two deployments and a category


class Outcomes(NamedTuple):
    """Comparisons of `one` with `other` in a category, by how they ended for `one`; `at_s`: when, on average."""

    one: str
    other: str
    category: str
    wins: float
    ties: float
    losses: float
    at_s: float

    @property
    def total(self) -> float:
        """The number of all comparisons."""
        return self.wins + self.ties + self.losses


class Level(NamedTuple):
    """What is believed of a quality: mean and standard deviation."""

    mean: float
    deviation: float


def level_of(belief: Belief) -> Level:
    """The level of a belief whose bound was worked out at `ANCHOR_CONFIDENCE`."""
    return Level(belief.mean, (belief.mean - belief.bound) / NormalDist().inv_cdf(ANCHOR_CONFIDENCE))


def together(rows: Iterable[Outcomes], half_life_s: float) -> dict[Pair, Outcomes]:
    """By pair, in the order of the names, and category: the sum of all, faded to the time of the newest."""
    found: dict[Pair, Outcomes] = {}
    for row in sorted(rows, key=lambda row: row.at_s):
        one = (
            row if row.one < row.other else row._replace(one=row.other, other=row.one, wins=row.losses, losses=row.wins)
        )
        before = found.get(one[:3], one._replace(wins=0.0, ties=0.0, losses=0.0))
        left = 0.5 ** ((one.at_s - before.at_s) / half_life_s)
        counts = {name: left * getattr(before, name) + getattr(one, name) for name in ("wins", "ties", "losses")}
        found[one[:3]] = one._replace(**counts)
    return found


def variance_of_one(seen: Outcomes | None) -> float:
    """The variance of a single comparison that wins (1), ties (0) or loses (−1).

    One more win and one more loss are added: a few ties do not say that there are only ties.
    """
    if seen is None:
        return 1.0
    total = seen.total + 2
    return (seen.wins + seen.losses + 2) / total - ((seen.wins - seen.losses) / total) ** 2


class Net:
    """The levels of some deployments in one category as a judge sees them, and the covariance of what is known."""

    def __init__(self, anchors: Mapping[str, Level | None], rows: Iterable[Outcomes]) -> None:
        self._place = {name: i for i, name in enumerate(anchors)}
        self._own = [_own(anchor) for anchor in anchors.values()]
        size = len(self._own)
        precision = [[0.0] * size for _ in range(size)]
        told = [weight * mean for weight, mean in self._own]
        for i, (weight, _) in enumerate(self._own):
            precision[i][i] = weight
        for row in rows:
            i, j = self._place[row.one], self._place[row.other]
            gap = (row.wins - row.losses) / row.total
            weight = 1 / (SCALE**2 * variance_of_one(row) / row.total + (SCALE_DEVIATION * gap) ** 2)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                precision[a][b] += sign * weight
            told[i] += weight * SCALE * gap
            told[j] -= weight * SCALE * gap
        self._covariance = inverse(precision)
        self._means = [sum(c * t for c, t in zip(row, told, strict=True)) for row in self._covariance]

    @staticmethod
    def of(category: str, anchors: Mapping[Cell, Level], rows: Sequence[Outcomes], names: Sequence[str] = ()) -> Net:
        """The net of one category, with `names` and the deployments that were compared most."""
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update({row.one: row.total, row.other: row.total})
        within = dict.fromkeys([*names, *(name for name, _ in counts.most_common())][:MOST_AT_ONCE])
        known = {name: anchors.get((name, category)) for name in within}
        return Net(known, [row for row in rows if row.one in known and row.other in known])

    @property
    def names(self) -> Iterable[str]:
        """The deployments in the net."""
        return self._place

    def from_others(self, name: str) -> Level | None:
        """A deployment's level by everything but its own level; `None` where that says nothing."""
        i = self._place[name]
        (weight, mean), variance = self._own[i], self._covariance[i][i]
        precision = self._precision(i, variance)
        if not precision:
            return None
        return Level((self._means[i] / variance - weight * mean) / (1 / variance - weight), precision**-0.5)

    def gain(self, name: str, one: str, other: str, variance: float) -> float:
        """How much more precise (1 ÷ variance) `from_others` gets by one more difference, told with `variance`."""
        i, j, k = self._place[one], self._place[other], self._place[name]
        at = [row[i] - row[j] for row in self._covariance]
        before = self._covariance[k][k]
        after = before - at[k] ** 2 / (variance + at[i] - at[j])
        return self._precision(k, after) - self._precision(k, before)

    def _precision(self, place: int, variance: float) -> float:
        """The precision of what the others say, if the level as a judge sees it has this variance."""
        left = 1 / variance - self._own[place][0]
        return 1 / (1 / left + LEAN**2) if left > 1 / UNTYPED_DEVIATION**2 else 0.0


def _own(anchor: Level | None) -> tuple[float, float]:
    """Precision and mean of a level as a judge sees it."""
    return (LOOSE, 0.5) if anchor is None else (1 / (anchor.deviation**2 + LEAN**2), anchor.mean)


def compared_evidence(
    evidence: Mapping[Cell, Evidence],
    typed: Mapping[Cell, float],
    rows: Iterable[Outcomes],
    now_s: float,
    rules: Rules,
) -> Iterator[tuple[Cell, Batch] | None]:
    """What comparisons say of one group's cells, as graded answers; `None` after each step that says nothing yet.

    `evidence` contains no comparisons.
    """
    kept = together(rows, rules.half_life_s).values()
    own, names = rules._replace(confidence=ANCHOR_CONFIDENCE), {name for row in kept for name in row[:2]}
    anchors = dict[Cell, Level]()
    for step in believing(evidence, typed, now_s, own, names, is_shared=False):
        if step is not None:
            anchors[step[0]] = level_of(step[1])
        yield None
    anchors = those_that_hold(anchors, evidence)
    for category in dict.fromkeys(row.category for row in kept):
        found = [row for row in kept if row.category == category]
        net = Net.of(category, anchors, found)
        yield None
        for name in net.names:
            level = net.from_others(name)
            if level is not None:
                mean = min(max(level.mean, EDGE), 1 - EDGE)
                answers = (mean * (1 - mean) if mean > 0.5 else 0.25) / level.deviation**2
                batch = Batch(PAIRED, answers, mean * answers, max(row.at_s for row in found))
                yield (name, category), batch


def those_that_hold(levels: Mapping[Cell, Level], evidence: Mapping[Cell, Evidence]) -> dict[Cell, Level]:
    """Of the levels without comparisons, those of graded answers; in a category without graded answers, all."""
    graded = {category for (_, category), found in evidence.items() if found.batches}
    return {cell: level for cell, level in levels.items() if cell in evidence or cell[1] not in graded}


def with_compared(evidence: Mapping[Cell, Evidence], batches: Mapping[Cell, Batch]) -> dict[Cell, Evidence]:
    """The graded answers and what comparisons add to them."""
    return {**evidence, **{cell: update(evidence.get(cell, Evidence()), batch) for cell, batch in batches.items()}}
