"""How good a group's deployments are believed to be: the numbers that somebody typed, and the answers that were graded.

    nothing graded in the category              the typed number, as it stands; unknown without one
    fewer answers than `prior_answers`          the typed number, as it stands; without one what the answers say
    else                                        all answers, the typed number as `prior_answers` more (`posterior`)

A typed number is somebody's decision, so its bound is itself. Graded answers are a sample, so their bound is lower.
Here an answer counts as its source weighs, whatever its age: old answers lower the bound, but the typed number does
not return.

Of the suite only the last run counts, because the one before asked the same items. A score without its number of
answers counts as typed where nobody typed one. Weak signals come last, and only lower what is believed (`weak`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from statistics import NormalDist
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.model import Facts, Metrics
from slo_router.quality.choosing import Standing
from slo_router.quality.comparing import (
    ANCHOR_CONFIDENCE,
    Level,
    Outcomes,
    compared_evidence,
    level_of,
    those_that_hold,
    with_compared,
)
from slo_router.quality.evidence import Batch, Cell, Evidence
from slo_router.quality.posterior import RULES, UNTYPED, UNTYPED_DEVIATION, Belief, Rules, believing, shown
from slo_router.quality.sources import FEEDBACK, SUITE, learn
from slo_router.quality.weak import is_weak, lowered

Judged = Mapping[str, Mapping[str, Belief]]  # by deployment id, then by category; what was never graded is not in it
Fed = Mapping[str, Mapping[str, Sequence[Batch]]]  # in the same way, what users said, as `Evidence` keeps it
NOT_FED: Fed = MappingProxyType({})


class Graded(NamedTuple):
    """All graded answers: the benchmark's, by deployment id and category, and what users said of the answers.

    `pairs` are the comparisons of deployments.
    """

    measured: Mapping[str, Mapping[str, Metrics]]
    fed: Fed = NOT_FED
    pairs: Sequence[Outcomes] = ()


def judging(
    facts: Iterable[Facts], graded: Graded, now_s: float, rules: Rules = RULES, only: Collection[str] | None = None
) -> Iterator[tuple[Cell, Belief] | None]:
    """What to believe of one group's deployments where answers were graded, step by step; `only`: of these deployments.

    `None` after a step without a belief. `now_s` is Unix seconds.
    """
    known, batches = _gather(facts, graded, rules), dict[Cell, Batch]()
    for told in compared_evidence(known.evidence, known.typed, known.pairs, now_s, known.rules):
        batches |= () if told is None else (told,)
        yield None
    known = known.compared(batches)
    typed = {cell: stated for cell, stated in known.typed.items() if cell in known.evidence}
    for step in believing(known.evidence, typed, now_s, known.rules, only):
        if step is None:
            yield None
            continue
        cell, belief = step
        stands = known.stands(cell)
        found = belief if stands is None else belief._replace(mean=stands, bound=stands)
        yield cell, lowered(found, known.signals.get(cell, ()), now_s, known.rules)
    for cell, seen in known.signals.items():
        stands = known.typed.get(cell)
        if cell not in typed and stands is not None and (only is None or cell[0] in only):  # typed, and nothing graded
            yield cell, lowered(Belief(stands, stands, 0.0, {}, None, stands), seen, now_s, known.rules)


def judge(facts: Iterable[Facts], graded: Graded, now_s: float, rules: Rules = RULES) -> Judged:
    """All beliefs at once, by deployment id and category."""
    found: dict[str, dict[str, Belief]] = {}
    for (name, category), belief in filter(None, judging(facts, graded, now_s, rules)):
        found.setdefault(name, {})[category] = belief
    return found


def standing(
    facts: Sequence[Facts], graded: Graded, categories: Sequence[str], now_s: float, rules: Rules
) -> Iterator[tuple[Cell, Standing] | None]:
    """How one group's deployments stand in these categories, to choose which to compare; `None`: a step without one."""
    z, own = NormalDist().inv_cdf(rules.confidence), rules._replace(confidence=ANCHOR_CONFIDENCE)
    known, anchors, batches = _gather(facts, graded, own, categories), dict[Cell, Level](), dict[Cell, Batch]()
    for step in believing(known.evidence, known.typed, now_s, known.rules, is_shared=False):
        if step is not None:
            anchors[step[0]] = level_of(step[1])
        yield None
    anchors = those_that_hold(anchors, known.evidence)
    for told in compared_evidence(known.evidence, known.typed, known.pairs, now_s, known.rules):
        batches |= () if told is None else (told,)
        yield None
    known, missing = known.compared(batches), {(one.deployment_id, name): None for one in facts for name in categories}
    for step in believing(known.evidence, known.typed, now_s, known.rules):
        if step is None:
            yield None
            continue
        cell, belief = step
        now, stands = level_of(belief), known.stands(cell)
        bound = now.mean - z * now.deviation if stands is None else stands
        missing.pop(cell, None)
        yield cell, Standing(now, bound, anchors.get(cell))
    for cell in missing:
        yield cell, Standing(Level(UNTYPED.mean, UNTYPED_DEVIATION), None, None)


class _Gathered(NamedTuple):
    """Graded answers by cell, and the typed numbers."""

    evidence: Mapping[Cell, Evidence]
    typed: Mapping[Cell, float]
    pairs: Sequence[Outcomes]
    rules: Rules
    signals: Mapping[Cell, Sequence[Batch]]

    def compared(self, batches: Mapping[Cell, Batch]) -> _Gathered:
        """The same with what comparisons add."""
        return self._replace(evidence=with_compared(self.evidence, batches))

    def stands(self, cell: Cell) -> float | None:
        """The typed number, as long as too few answers were graded."""
        batches = self.evidence.get(cell, Evidence()).batches
        counted = sum(self.rules.worths[batch.source].weight * batch.answers for batch in batches)
        return self.typed.get(cell) if counted < self.rules.prior_answers else None


def _gather(facts: Iterable[Facts], graded: Graded, rules: Rules, categories: Sequence[str] = ()) -> _Gathered:
    every = {one.deployment_id: one for one in facts}
    graded = graded._replace(pairs=[row for row in graded.pairs if row.one in every and row.other in every])
    evidence, typed, signals = dict[Cell, Evidence](), dict[Cell, float](), dict[Cell, Sequence[Batch]]()
    for name, category in _cells(every, graded, categories):
        row, fed = graded.measured.get(name, {}).get(category), graded.fed.get(name, {}).get(category, ())
        found = evidence_of(row, fed)
        if found.batches:
            evidence[name, category] = found
        heard = [batch for batch in fed if is_weak(batch)] if rules.hears_signals else []
        signals |= {(name, category): heard} if heard else {}
        stated = stated_for(every[name], category, row)
        typed |= {} if stated is None else {(name, category): stated}
    worths = learn(FEEDBACK, [shown(found) for found in evidence.values()], rules.worths)
    return _Gathered(evidence, typed, graded.pairs, rules._replace(worths=worths), signals)


def _cells(names: Iterable[str], graded: Graded, categories: Sequence[str]) -> Iterator[Cell]:
    """Cells of which more than a typed number may be known, and those of these categories; each once, by deployment."""
    met: dict[str, dict[str, None]] = {}
    for row in graded.pairs:
        for name in (row.one, row.other):
            met.setdefault(name, {})[row.category] = None
    for name in names:
        known = (graded.measured.get(name, ()), graded.fed.get(name, ()), met.get(name, ()), categories)
        for category in dict.fromkeys(chain.from_iterable(known)):
            yield name, category


def evidence_of(row: Metrics | None, fed: Sequence[Batch]) -> Evidence:
    """The graded answers of a deployment in a category."""
    fed = [batch for batch in fed if not is_weak(batch)]
    if row is None or row.quality_score is None or not row.quality_n:
        return Evidence(tuple(fed))
    at_s = row.measured_at_s if row.quality_at_s is None else row.quality_at_s
    suite = Batch(SUITE, row.quality_n, row.quality_score * row.quality_n, at_s)
    return Evidence(tuple(sorted([suite, *fed], key=lambda batch: batch.at_s)))


def stated_for(facts: Facts, category: str, row: Metrics | None) -> float | None:
    """The number that somebody typed, else a score in the metrics without its number of answers."""
    typed = facts.quality_for(category)
    if typed is None and row is not None and row.quality_n is None:
        return row.quality_score
    return typed
