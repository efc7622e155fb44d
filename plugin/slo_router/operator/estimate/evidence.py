"""Whether a candidate's answers are good enough to take over a task, and how sure that is.

    SHOWN     graded answers show it, with the confidence that was asked for; or it is the same model
    STATED    the YAML's quality says so, and nobody measured it. The router acts on that until somebody does
    OPEN      nobody knows: too few graded answers, or none
    NO        the quality that is stated or measured is too low

Good enough is at least the group's `min_quality`, if the plugin manages the group and the group has one. The bound that
its decisions use (`quality_confidence`) must reach that. Else good enough is a share (`keep`) of the quality of the
deployment that answers now. Graded answers come from the benchmark in Redis, or from an outcomes table, in which both
answered the same prompts. If a row's task is unknown, a verdict holds if it is the same for every known task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from statistics import NormalDist
from typing import NamedTuple

from slo_router.contract.intervals import FEWEST, Interval, wilson
from slo_router.contract.model import Facts
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.estimate.lengths import bare
from slo_router.operator.estimate.outcomes import Outcomes, mean_of
from slo_router.operator.estimate.reading.rows import NO_TASK

POWER = 0.8  # of the comparison that would settle an open question
DIFFER = 0.2  # assumed share of prompts on which one of two models is graded right and the other wrong
MOST_ANSWERS = 100_000
_DEFAULT = "default"


class Verdict(IntEnum):
    """The higher, the surer it is that the answers are good enough."""

    NO = 0
    OPEN = 1
    STATED = 2
    SHOWN = 3


class Judgement(NamedTuple):
    """A verdict and why. `needed` graded answers would settle it; `None` where it is settled, or no number would."""

    verdict: Verdict
    why: str
    needed: int | None = None


class Quality(NamedTuple):
    """A believed quality, 0..1. `answers` were graded; `None`: the number was typed.

    `bound` is what decisions hold a group's floor against, where the group is managed.
    """

    value: float
    answers: int | None = None
    bound: float | None = None


class Served(NamedTuple):
    """The deployment that answers now."""

    name: str  # the deployment's id, or its model
    model: str
    facts: Facts | None


Measured = Mapping[tuple[str, str], Quality]  # by deployment id and task


class Evidence:
    """Judges candidates. `confidence` is of a one-sided bound. `keep` is the share of the present quality to keep."""

    def __init__(
        self,
        groups: Mapping[str, GroupSettings],
        measured: Measured,
        outcomes: Outcomes | None,
        keep: float,
        confidence: float,
    ) -> None:
        self._groups, self._measured, self._outcomes = groups, measured, outcomes
        self._keep, self._confidence = keep, confidence
        self._two_sided = 2 * confidence - 1

    def judge(self, candidate: Facts, served: Served, group: str, task: str) -> Judgement:
        """Whether `candidate` may answer what `served` answers."""
        if bare(candidate.model) == bare(served.model):
            return Judgement(Verdict.SHOWN, "the same model")
        compared = self._compared(candidate, served, task) if self._floor(group, task) is None else None
        if compared is not None:
            return compared
        if task != NO_TASK:
            return self._of_task(candidate, served, group, task)
        found = [self._of_task(candidate, served, group, one) for one in self._tasks(candidate, served, group)]
        worst = min(found, key=lambda one: one.verdict)
        if worst.verdict is max(found, key=lambda one: one.verdict).verdict:
            return worst
        return Judgement(Verdict.OPEN, "good enough for some tasks, and the rows do not say their task")

    def may_stay(self, served: Served, group: str, task: str) -> bool:
        """Whether the deployment that answers now passes the group's floor. An unknown quality passes."""
        tasks = [task] if task != NO_TASK or served.facts is None else self._tasks(served.facts, served, group)
        return any(self._keeps_floor(served, self._floor(group, one), one) for one in tasks)

    def _keeps_floor(self, served: Served, floor: float | None, task: str) -> bool:
        have = self._quality(served.facts, served.name, task)
        return floor is None or have is None or (have.value if have.bound is None else have.bound) >= floor

    def _tasks(self, candidate: Facts, served: Served, group: str) -> list[str]:
        settings = self._groups.get(group)
        named = {*candidate.quality, *(served.facts.quality if served.facts is not None else ())}
        named |= set(settings.min_quality) if settings is not None else set()
        named |= {task for name, task in self._measured if name in (candidate.deployment_id, served.name)}
        return sorted(named) or [_DEFAULT]

    def _of_task(self, candidate: Facts, served: Served, group: str, task: str) -> Judgement:
        have, floor = self._quality(candidate, candidate.deployment_id, task), self._floor(group, task)
        if have is None:
            return Judgement(Verdict.OPEN, "no graded answers of it", self._planned())
        if floor is not None:
            return self._against(have, Quality(floor), 1.0, f"below the group's {floor:g}", is_floor_sure=True)
        present = self._quality(served.facts, served.name, task)
        if present is None:
            return Judgement(Verdict.OPEN, "no graded answers of what answers now", self._planned())
        said = f"below {self._keep:g} × {present.value:g}"
        return self._against(have, present, self._keep, said, is_floor_sure=present.answers is not None)

    def _against(self, have: Quality, present: Quality, keep: float, low: str, *, is_floor_sure: bool) -> Judgement:
        """Judges the quality `have` against `keep` × `present`."""
        floor = keep * present.value
        gap = have.value - floor
        if have.answers is None or not is_floor_sure:
            if gap < 0:
                return Judgement(Verdict.NO, f"{have.value:g} is {low}")
            return Judgement(Verdict.STATED, "stated, not measured", self._needed(have.value, gap))
        own, other = self._bounds(have), self._bounds(present)
        below = math.hypot(have.value - own.low, keep * (other.high - present.value))
        above = math.hypot(own.high - have.value, keep * (present.value - other.low))
        said = f"{have.value:.3g} of {have.answers:,} answers"
        shows = gap >= below
        if have.bound is not None and present.answers is None:
            said, shows = f"{said}, at least {have.bound:.2f}", have.bound >= floor
        if shows:
            return Judgement(Verdict.SHOWN, said)
        if gap + above < 0:
            return Judgement(Verdict.NO, f"{said} is {low}")
        return Judgement(Verdict.OPEN, f"{said}: too few", self._needed(have.value, gap))

    def _bounds(self, quality: Quality) -> Interval:
        """The interval of a quality. A typed number is taken as exact."""
        if quality.answers is None:
            return Interval(quality.value, quality.value)
        return wilson(quality.value * quality.answers, quality.answers, self._two_sided)

    def _compared(self, candidate: Facts, served: Served, task: str) -> Judgement | None:
        """The judgement by the outcomes table; `None` if it has too few prompts of the task that both answered."""
        if self._outcomes is None:
            return None
        one = self._outcomes.name_of((candidate.deployment_id, candidate.model, bare(candidate.model)))
        other = self._outcomes.name_of((served.name, served.model, bare(served.model)))
        of_task = None if task == NO_TASK else task
        if one is None or other is None:
            return None
        found = self._outcomes.differences(one, other, self._keep, of_task)
        if len(found) < FEWEST:
            return None
        mean, between = mean_of(found, self._two_sided)
        said = f"{mean:+.3f} beside {self._keep:g} × it, on {len(found):,} prompts"
        if between.low >= 0:
            return Judgement(Verdict.SHOWN, said)
        if between.high < 0:
            return Judgement(Verdict.NO, said)
        spread = (between.high - between.low) / 2 * math.sqrt(len(found))
        needed = math.ceil((spread / mean) ** 2) if mean else MOST_ANSWERS
        return Judgement(Verdict.OPEN, f"{said}: too few", needed if needed < MOST_ANSWERS else None)

    def _quality(self, facts: Facts | None, name: str, task: str) -> Quality | None:
        """The quality from the benchmark, else from the outcomes table, else as stated."""
        measured = self._measured.get((name, task))
        if measured is not None:
            return measured
        if self._outcomes is not None:
            of_table = self._outcomes.name_of((name, *((facts.model, bare(facts.model)) if facts is not None else ())))
            scores = [] if of_table is None else self._outcomes.scores(of_table, None if task == _DEFAULT else task)
            if len(scores) >= FEWEST:
                return Quality(sum(scores) / len(scores), len(scores))
        stated = None if facts is None else facts.quality_for(task)
        return None if stated is None else Quality(stated)

    def _floor(self, group: str, task: str) -> float | None:
        settings = self._groups.get(group)
        return None if settings is None else settings.quality_floor(task if task != NO_TASK else _DEFAULT)

    def _needed(self, quality: float, gap: float) -> int | None:
        """Graded answers after which the bound would clear the floor or miss it, if the quality is what it seems."""
        variance = max(quality * (1 - quality), 0.01)
        answers = math.ceil(variance * (_z(self._confidence) / gap) ** 2) if gap else MOST_ANSWERS
        return max(answers, FEWEST) if answers < MOST_ANSWERS else None

    def _planned(self) -> int | None:
        """Prompts that both must answer where nothing is known. If both are equally good, these show it with POWER."""
        margin = 1 - self._keep
        if margin <= 0:
            return None
        answers = math.ceil(DIFFER * ((_z(self._confidence) + _z(POWER)) / margin) ** 2)
        return answers if answers < MOST_ANSWERS else None


def _z(level: float) -> float:
    return NormalDist().inv_cdf(level)
