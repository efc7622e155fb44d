"""Decides whether a run is as good as its baseline. Pure.

A category has regressed if its drop is beyond chance (p at most a level) and its estimate is beyond the allowance.

Chance is tested twice: over all items of the deployment, and in each category. Most degradations hit all categories a
little; some hit one category a lot. Each test gets half of the false-alarm rate. If all items together dropped, every
category that dropped beyond the allowance has regressed.

There are up to three looks. A drop far beyond chance (a tenth of the level) is judged at once. A run that looks no
worse is good at once. Otherwise it is `unsure`: each item gets one more answer, and the next look takes the mean. That
costs an unchanged deployment up to a fifth more answers. It finds drops that would otherwise need twice the items.
`python -m evaluation.gate.gate_power` shows how often a drop of a given size is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from slo_bench.gate.paired import Change, difference

Scores: TypeAlias = Mapping[str, float]  # item id → 0..1
Judgement: TypeAlias = Literal["good", "better", "regressed", "unsure"]

ALLOW_DROP = 0.02
LEAST_ITEMS = 20  # fewer common items are not judged
LOOKS = 3
EARLY = 0.1  # before the last look, p must be at most this part of the level
SUSPICIOUS = {1: 20.0, 2: 10.0}  # by look: a drop with p up to this many times the level is looked at again
BETTER = 0.001  # p of a rise that sets a new baseline


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """`allow_drop` is a drop of the score (0..1). `false_alarms` is a probability per deployment and run."""

    allow_drop: float = ALLOW_DROP
    false_alarms: float = 0.01


class Case(NamedTuple):
    """One category: its baseline, and the run."""

    before: Scores
    after: Scores

    def changes(self) -> Iterator[float]:
        """After minus before, for each common item."""
        return (self.after[item] - score for item, score in self.before.items() if item in self.after)


class Ruling(NamedTuple):
    """`change` is the category's own. It is `None` with too few common items, and the judgement is then `good`."""

    judgement: Judgement
    change: Change | None


def judge(cases: Mapping[str, Case], policy: GatePolicy, look: int = LOOKS) -> dict[str, Ruling]:
    """Judges one deployment's run, by category. At the last look nothing is `unsure`."""
    rulings = {category: Ruling("good", None) for category in cases}
    found = {category: difference(case.changes()) for category, case in cases.items()}
    changes = {name: change for name, change in found.items() if change is not None and change.items >= LEAST_ITEMS}
    whole = difference(change for category in changes for change in cases[category].changes())
    level = policy.false_alarms if len(changes) < 2 else policy.false_alarms / 2
    verdict = "good" if whole is None else _judged(whole, level, policy, look)
    for category, change in changes.items():
        judgement = _judged(change, level / len(changes), policy, look)
        if verdict == "unsure" or (verdict == "regressed" and -change.mean > policy.allow_drop):
            judgement = "regressed" if judgement == "regressed" else verdict
        rulings[category] = Ruling(judgement, change)
    return rulings


def _judged(change: Change, level: float, policy: GatePolicy, look: int) -> Judgement:
    drop, chance = -change.mean, change.chance
    if drop > policy.allow_drop and chance <= level * (1 if look >= LOOKS else EARLY):
        return "regressed"
    if look < LOOKS and drop > 0 and chance <= level * SUSPICIOUS[look]:
        return "unsure"
    return "better" if 1 - chance <= BETTER else "good"
