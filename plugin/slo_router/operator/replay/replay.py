"""What another policy would have done to recorded requests, and where the log cannot tell.

    share        exact, given the predictions that were recorded: load is taken as it was, though other picks move it.
                 Where one from few samples lies near its limit, or decides between scores near each other, a live run
                 could go either way: `close` counts those
    cost         a request that stays where it was costs what it cost; one that moves, its tokens at the new price:
                 as many more or fewer of the answer as were expected of the new one
    SLO kept     a request that stays is judged by what was measured. Of one that moves, cost and quality are known;
                 its latencies are judged by how those of its new deployment compared with their predictions
    quality      what is believed of each pick, with the interval of the answers that were judged

`replay_outcome` works the figures out once all records were added.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from slo_router.contract.intervals import PairSums
from slo_router.contract.model import Assessment, Prediction, Slo
from slo_router.contract.settings.config import GroupSettings, Weights
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.judging import breaks_the_rest, judge, latencies_of
from slo_router.operator.replay.policy_change import PolicyChange
from slo_router.operator.replay.recorded import Candidate, Recorded, as_written_by, prediction_of
from slo_router.operator.replay.redecision import Draws, Redecision, redecide
from slo_router.operator.reporting.punctuality import LATENCIES, Punctuality, Tightness, tightness

Cell = tuple[str, Tightness | None]  # a deployment, and how much time it would have had


@dataclass(slots=True)
class Counts:
    """What the replay counts; requests unless said otherwise."""

    replayed: int = 0
    not_decided: int = 0  # LiteLLM chose; there is nothing to replay
    no_candidate: int = 0  # the new YAML has none of its group or candidates
    other_policy: int = 0  # recorded under another policy than the old YAML's
    moved: int = 0
    drawn: int = 0
    never_measured: int = 0  # the new pick's prediction rests on nothing
    close: int = 0  # the new pick hangs on a prediction that is less certain than it is near to another pick
    met: int = 0  # expected by the new policy, fallbacks not
    unpriced: int = 0


class Replay:
    """Takes one record after another. `old` and `new` keep the accounts at the old and the new YAML's prices."""

    def __init__(self, change: PolicyChange, old: Counterfactual, new: Counterfactual, draws: Draws) -> None:
        self._change, self._old, self._new, self._draws = change, old, new, draws
        self.counts = Counts()
        self.shares: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # deployment → recorded, new
        self.picks: defaultdict[tuple[str, str], int] = defaultdict(int)  # new, by deployment and category
        self._cost = [0.0] * 5  # new, old, new², new·old, old²
        self._priced = 0
        self.quality = [0.0, 0.0]  # sums: recorded, new
        self.quality_count = 0
        self.judged_before = [0, 0]  # met, judged: as recorded
        self.judged = [0, 0]  # met, judged: by the new SLO, where that is known
        self.punctuality: defaultdict[str, Punctuality] = defaultdict(Punctuality)  # by deployment
        self.waiting: defaultdict[Cell, int] = defaultdict(int)  # moved, to be judged by `punctuality`

    def add(self, record: Recorded) -> None:
        """Decides it again."""
        decision, side = record.decision, self._change.group(record)
        if decision is None or record.deployment is None:
            self.counts.not_decided += 1
            return
        candidates = [] if side is None else self._change.candidates(record, decision, side)
        if side is None or not candidates:
            self.counts.no_candidate += 1
            return
        demand = self._change.demand(record, decision, side)
        new = redecide(demand, candidates, side.settings, self._draws)
        name = new.chosen.deployment_id
        self._count(record, name, new, is_other=decision.policy != self._change.old_policy)
        self.counts.close += _is_close(new, demand.slo, side.settings)
        by_name = {one.deployment: one for one in decision.candidates}
        elsewhere = as_written_by(record, name)
        new_usd = self._count_cost(record, elsewhere, name, by_name.get(name))
        self._count_quality(by_name.get(record.deployment), new)
        served = next((one.prediction for one in candidates if one.facts.deployment_id == record.deployment), None)
        if served is None and record.deployment in by_name:
            served = prediction_of(by_name[record.deployment].predicted)
        self._judge(record, elsewhere, demand.slo, served, (new.chosen, new_usd))

    def _judge(
        self,
        record: Recorded,
        elsewhere: Recorded,
        slo: Slo,
        served: Prediction | None,
        new: tuple[Assessment, float | None],
    ) -> None:
        if record.slo_met is not None:
            _add(self.judged_before, is_hit=record.slo_met)
        (chosen, new_usd), name, is_hit = new, record.deployment or "", record.outcome == "cache_hit"
        latencies = latencies_of(slo)
        in_time = judge(record, latencies, None)
        if not is_hit:
            self.punctuality[name].add(record, served)
        if in_time is None:  # what its SLO names could not have been measured elsewhere either
            return
        if name == chosen.deployment_id or is_hit:
            met = judge(record, slo, None if served is None else served.quality)
            if met is not None:
                _add(self.judged, is_hit=met)
        elif breaks_the_rest(elsewhere, slo, new_usd, chosen.prediction.quality):
            _add(self.judged, is_hit=False)
        else:
            self.waiting[chosen.deployment_id, tightness(latencies, chosen.prediction)] += 1

    @property
    def cost(self) -> PairSums:
        """The new policy's cost and what was spent, over requests of which both are known: none where `pairs` is 0."""
        new, old, *squares = self._cost
        return PairSums(self._priced, new, old, *squares)

    def _count(self, record: Recorded, name: str, new: Redecision, *, is_other: bool) -> None:
        counts = self.counts
        counts.replayed += 1
        counts.moved += name != record.deployment
        counts.drawn += new.is_drawn
        counts.never_measured += new.chosen.prediction.basis == "none"
        counts.met += new.is_met
        counts.other_policy += is_other
        self.shares[record.deployment or ""][0] += 1
        self.shares[name][1] += 1
        self.picks[name, record.category or ""] += 1

    def _count_cost(
        self, record: Recorded, elsewhere: Recorded, name: str, candidate: Candidate | None
    ) -> float | None:
        """Returns what the request would have cost."""
        if record.outcome == "error" or record.prompt_tokens is None:
            return None
        spent_usd = self._old.account(record).spent_usd
        new_usd = self._new.cost_usd(name, candidate, elsewhere)
        if name == record.deployment and self._old.price(name) == self._new.price(name):
            new_usd = spent_usd
        if record.outcome == "cache_hit":
            new_usd = spent_usd
        if spent_usd is None or new_usd is None:
            self.counts.unpriced += 1
            return new_usd
        self._priced += 1
        terms = (new_usd, spent_usd, new_usd**2, new_usd * spent_usd, spent_usd**2)
        self._cost = [total + term for total, term in zip(self._cost, terms, strict=True)]
        return new_usd

    def _count_quality(self, before: Candidate | None, new: Redecision) -> None:
        old, now = None if before is None else before.predicted.quality, new.chosen.prediction.quality
        if old is not None and now is not None:
            self.quality_count += 1
            self.quality[0] += old
            self.quality[1] += now


def _is_close(found: Redecision, slo: Slo, group: GroupSettings) -> bool:
    """Whether the pick could as well be another: a live prediction is nearer to a limit, or to tip the scores, than it
    is certain. Counted are the pick's and those of candidates that would go before it."""
    chosen = found.chosen
    most_usd = _cost_usd(chosen)
    for one in found.pool:
        if one is chosen or _cost_usd(one) < most_usd:
            for name in LATENCIES:
                limit_s, expected_s = getattr(slo, name), getattr(one.prediction, name)
                if limit_s and expected_s and abs(math.log(limit_s / expected_s)) < _doubt(one):
                    return True
    if chosen.scores is None:
        return False
    weights, total = group.weights or Weights(), chosen.scores["total"]
    part = weights.latency / (weights.quality + weights.cost + weights.latency)
    return any(
        one is not chosen
        and one.standing is chosen.standing
        and total - (one.scores or {}).get("total", 0.0) < part * max(_doubt(one), _doubt(chosen))
        for one in found.pool
    )


def _cost_usd(candidate: Assessment) -> float:
    """What it was expected to cost: nothing is cheaper than what is free, and what is unknown is the dearest."""
    return math.inf if candidate.prediction.cost_usd is None else candidate.prediction.cost_usd


def _doubt(candidate: Assessment) -> float:
    """How far a live prediction may be off, as a share of it.

    The p90 of n latencies whose p95 is 1.6 to 2 times their median has a relative standard error of 0.4/√n to 0.6/√n;
    this is about twice that.
    """
    prediction = candidate.prediction
    return 1 / math.sqrt(prediction.samples) if prediction.basis == "live" and prediction.samples else 0.0


def _add(hits_of_trials: list[int], *, is_hit: bool) -> None:
    hits_of_trials[0] += is_hit
    hits_of_trials[1] += 1
