"""Which candidate would have answered, and what that would have cost. Pure.

Within a stratum the router picks alike, so each stratum has one pick: the cheapest candidate that is good enough, if it
is cheaper than the deployment that answered. If that deployment is below the group's floor, the pick may be dearer. The
router picks by what it expects, that is, by the stratum's mean. Requests that stay cost what was booked.

    Scenario    which candidates may take over: only `shown` ones, also `stated` ones, also `open` ones (`evidence`)
    End         which end of the assumptions holds: the middle, or the end at which the least (the most) is saved. At
                the lower end other models write the longest plausible answers, and read nothing from their caches
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from slo_router.contract.model import Facts
from slo_router.contract.prices import cost_usd
from slo_router.operator.estimate.candidates import Pool
from slo_router.operator.estimate.evidence import Evidence, Judgement, Served, Verdict
from slo_router.operator.estimate.lengths import ASSUMED, SAME, Factor, Lengths, bare
from slo_router.operator.estimate.outcomes import Outcomes
from slo_router.operator.estimate.totals import Stratum, Sums

SCENARIOS = (Verdict.SHOWN, Verdict.STATED, Verdict.OPEN)


class End(IntEnum):
    """Which end of the assumptions holds."""

    LEAST = 0
    MIDDLE = 1
    MOST = 2


class Option(NamedTuple):
    """A candidate for one stratum."""

    facts: Facts
    judgement: Judgement
    factor: Factor

    def usd(self, sums: Sums, end: End) -> float:
        """USD that the candidate would have charged for these requests, all of one stratum."""
        n, factor = sums.requests, self.factor
        times = (factor.high, factor.middle, factor.low)[end]
        cached = 0.0 if end is End.LEAST else sums.cached / n
        return n * (cost_usd(self.facts, sums.prompt / n, times * sums.answer / n, cached) or 0.0)

    def fits(self, sums: Sums) -> bool:
        """Whether the candidate's limits on context and answer hold the mean prompt with its answer."""
        n, window, longest = sums.requests, self.facts.context_tokens, self.facts.max_output_tokens
        answer = self.factor.middle * sums.answer / n
        return (window is None or sums.prompt / n + answer <= window) and (longest is None or answer <= longest)


Picks = Mapping[Stratum, Option]  # the strata that move, and where to


class WhatIf:
    """Every option of every stratum, and the picks among them."""

    def __init__(
        self,
        strata: Mapping[Stratum, Sums],
        models: Mapping[str, str],
        pool: Pool,
        evidence: Evidence,
        outcomes: Outcomes | None,
    ) -> None:
        self._strata, self._models, self._pool = strata, models, pool
        self._evidence, self._outcomes = evidence, outcomes
        self._lengths = Lengths(strata, models)
        self._served = {
            name: Served(name, models.get(name, name), pool.served(name, models.get(name, name)))
            for name in {stratum.served for stratum in strata}
        }
        self.options = {stratum: self._options(stratum, sums) for stratum, sums in strata.items()}
        self._may_stay = {
            one: evidence.may_stay(self._served[one.served], one.group, one.task) or one.has_media for one in strata
        }
        self._stay_usd = {stratum: self._stays(stratum, sums) for stratum, sums in strata.items()}

    def picks(self, scenario: Verdict, end: End) -> Picks:
        """Where each stratum that moves would go."""
        found: dict[Stratum, Option] = {}
        for stratum, options in self.options.items():
            sums = self._strata[stratum]
            able = [one for one in options if one.judgement.verdict >= scenario]
            if not able:
                continue
            best = min(able, key=lambda one: one.usd(sums, end))
            if not self._may_stay[stratum] or best.usd(sums, end) < self._stay_usd[stratum]:
                found[stratum] = best
        return found

    def _options(self, stratum: Stratum, sums: Sums) -> list[Option]:
        served = self._served[stratum.served]
        if stratum.has_media:
            return []
        options = []
        for one in self._pool.of(stratum.group):
            facts = one.facts
            if facts.deployment_id == stratum.served:
                continue
            judgement = self._evidence.judge(facts, served, stratum.group, stratum.task)
            option = Option(facts, judgement, self._factor(facts, served, stratum))
            if option.fits(sums):
                options.append(option)
        return options

    def _factor(self, facts: Facts, served: Served, stratum: Stratum) -> Factor:
        own, other = bare(served.model), bare(facts.model)
        if own == other:
            return SAME
        learned = self._lengths.learned(stratum.group, stratum.task, own, other)
        if learned is None and self._outcomes is not None:
            names = (self._outcomes.name_of((facts.deployment_id, facts.model, other)), self._outcomes.name_of((own,)))
            if names[0] is not None and names[1] is not None:
                learned = self._outcomes.factor(names[0], names[1])
        return learned or ASSUMED

    def _stays(self, stratum: Stratum, sums: Sums) -> float:
        """What the router would expect to pay where the stratum is: what was booked, or less by known list prices."""
        facts = self._served[stratum.served].facts
        if facts is None:
            return sums.usd
        n = sums.requests
        usd = cost_usd(facts, sums.prompt / n, sums.answer / n, sums.cached / n)
        return sums.usd if usd is None else min(n * usd, sums.usd)


def routed_usd(stratum: Stratum, sums: Sums, picks: Picks, end: End) -> float:
    """What some of a stratum's requests would have cost."""
    option = picks.get(stratum)
    return sums.usd if option is None else option.usd(sums, end)
