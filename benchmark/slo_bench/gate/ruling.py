"""Whether a run is as good as its baseline: the decision of the gate, and nothing else.

A category has regressed where the drop is beyond chance (p at most a level) and beyond the allowance (the estimate).

Chance is judged twice, over all items of the deployment and in each category: most degradations hit all categories a
little, some hit one a lot. Each gets half of the false-alarm rate. A drop of the whole is laid on the categories that
dropped beyond the allowance themselves.

There are up to three looks. What is far beyond chance (a tenth of the level) is judged at once, and what looks no worse
is good at once. In between the run is `unsure`: each item gets one more answer, and the next look is at the mean. That
costs an unchanged deployment up to a fifth more answers, and finds drops that would else take twice the items. `python
-m evaluation.gate.gate_power` shows how large a drop is found how often.
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
EARLY = 0.1  # times the level: what is judged before the last look
SUSPICIOUS = {1: 20.0, 2: 10.0}  # times the level, by look: what is looked at again
BETTER = 0.001  # p of a rise that sets a new baseline


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """`allow_drop` in score points of 0..1; `false_alarms` is the probability per deployment and run."""

    allow_drop: float = ALLOW_DROP
    false_alarms: float = 0.01


class Case(NamedTuple):
    """One category: its baseline, and the run."""

    before: Scores
    after: Scores

    def changes(self) -> Iterator[float]:
        """After minus before, of the items that both have."""
        return (self.after[item] - score for item, score in self.before.items() if item in self.after)


class Ruling(NamedTuple):
    """`change` is the category's own; `None` where too few items are in both to judge, which is good."""

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
