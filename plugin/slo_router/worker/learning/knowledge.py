"""What a worker knows of its deployments, worked out in the background: what was measured, how good their answers are.

Latencies, cost and faults of a new benchmark count at once: until the next refit each decision works them out itself.
Graded answers count only from that refit on, for judging them takes longer than many decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import NamedTuple

from slo_router.contract.ages import HOUR_S
from slo_router.contract.model import Facts, Snapshot
from slo_router.decision.groups import ManagedGroup, rules_of
from slo_router.decision.known import NOT_JUDGED, Known, know, prior
from slo_router.latency.evidence import Prior
from slo_router.quality.comparing import Outcomes
from slo_router.quality.judging import Fed, Graded, Judged, evidence_of, judging
from slo_router.quality.posterior import Belief
from slo_router.quality.weak import is_weak

AGE_S = HOUR_S  # evidence fades so slowly that its age is not looked at more often


class Told(NamedTuple):
    """What a worker was told: by the configuration, by the benchmark, by users, and by comparisons."""

    facts: Mapping[str, Facts]
    group_of: Mapping[str, str]
    groups: Mapping[str, ManagedGroup]
    snapshot: Snapshot
    fed: Fed
    pairs: Sequence[Outcomes] = ()


class Knowledge:
    """What a worker knows of its deployments, by deployment id."""

    def __init__(self) -> None:
        self.judged: Judged = NOT_JUDGED
        self.priors: Mapping[str, Prior] = {}
        self._known: Mapping[str, Mapping[str, Known]] = {}
        self._made_of: tuple[object, ...] = ()
        self._settled: tuple[object, ...] = ()
        self._evidence: Mapping[str, object] = {}  # that `judged` was made from

    def forget(self) -> None:
        """Forgets what was worked out, for the configuration changed. Until the next refit each decision does it."""
        self._known = {}

    def known(self, snapshot: Snapshot) -> Mapping[str, Mapping[str, Known]]:
        """By deployment and category, what the last refit worked out of this snapshot; empty if that is newer."""
        return self._known if self._made_of and self._made_of[0] is snapshot.measured else {}

    def refit(self, told: Told, categories: Collection[str], now_s: float) -> Generator[None, None, None]:
        """Works out what has changed, in steps."""
        yield from self._judge(told, now_s)
        snapshot, facts = told.snapshot, told.facts
        made_of = snapshot.measured, facts, categories, self.judged
        if self._made_of and all(old is new for old, new in zip(self._made_of, made_of, strict=True)):
            return
        known, priors = dict[str, Mapping[str, Known]](), dict[str, Prior]()
        for name, one in facts.items():
            priors[name] = prior(list(snapshot.measured.get(name, {}).values()))
            known[name] = know(one, categories, snapshot, self.judged)
            yield
        self._known, self.priors, self._made_of = known, priors, made_of

    def _judge(self, told: Told, now_s: float) -> Generator[None, None, None]:
        """Judges deployments with new evidence; all of them each hour, and on any new evidence if some are compared."""
        every = {name: _evidence(name, told) for name in told.facts}
        rules = {name: rules_of(one.settings) for name, one in told.groups.items()}
        settled = told.facts, rules, int(now_s // AGE_S), told.pairs
        is_same = self._settled == settled and (not told.pairs or every == self._evidence)  # a pair has two ends
        only = [name for name, evidence in every.items() if not is_same or evidence != self._evidence.get(name)]
        yield
        if not only:
            return
        judged: dict[str, dict[str, Belief]] = {name: {} for name in only}
        graded = Graded(told.snapshot.measured, told.fed, told.pairs)
        for group, its_rules in rules.items():
            mine = [one for name, one in told.facts.items() if told.group_of.get(name) == group]
            for found in judging(mine, graded, now_s, its_rules, only):
                if found is not None:
                    (name, category), belief = found
                    judged[name][category] = belief
                yield
        kept = {name: beliefs for name, beliefs in self.judged.items() if name in told.facts}
        self.judged = {**kept, **judged}
        self._settled, self._evidence = settled, every


def _evidence(name: str, told: Told) -> Mapping[str, Sequence[object]]:
    """The evidence of a deployment's quality, by category. Weak signals are rounded, for they change all the time."""
    rows, fed = told.snapshot.measured.get(name, {}), told.fed.get(name, {})
    found = {
        one: (
            *evidence_of(rows.get(one), fed.get(one, ())).batches,
            *(f"{batch.answers:.2g} {batch.score:.2g}" for batch in fed.get(one, ()) if is_weak(batch)),
        )
        for one in {*rows, *fed}
    }
    return {category: batches for category, batches in found.items() if batches}
