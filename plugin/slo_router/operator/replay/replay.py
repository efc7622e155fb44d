"""What another policy would have done with recorded requests, and where the log cannot tell.

    share        exact, given the recorded predictions. Load is as recorded, although other picks would change it. If a
                 prediction from few samples is near its limit, or decides between two near scores, a live run could
                 pick otherwise: `close` counts such picks
    cost         a request that stays costs what it cost. One that moves costs its tokens at the new price, with its
                 answer's length scaled by the ratio of the two deployments' expected lengths
    SLO kept     a request that stays is judged by its measurements. For one that moves, cost and quality are known.
                 Its latencies are judged by observed ÷ predicted of its new deployment's requests
    quality      the expected quality of each pick, and the bound that floors are held against: as recorded, or as
                 believed now for a deployment that no record has. With the interval of the graded answers

`replay_outcome` computes the figures after all records were added.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist

from slo_router.contract.intervals import PairSums
from slo_router.contract.model import Assessment, Prediction, Slo
from slo_router.contract.settings.group import GroupSettings, Weights
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.judging import breaks_the_rest, judge, latencies_of
from slo_router.operator.replay.policy_change import PolicyChange
from slo_router.operator.replay.recorded import Candidate, Recorded, as_written_by, prediction_of
from slo_router.operator.replay.redecision import Draws, Redecision, redecide
from slo_router.operator.reporting.punctuality import LATENCIES, Punctuality, Tightness, tightness
from slo_router.quality.posterior import RULES
from slo_router.quality.worth import for_request
from slo_router.worker.learning.worths import ENOUGH, Worth

_NORMAL = NormalDist()
LEAST_Z = 0.25  # for a bound near the mean (`quality_confidence` near 0.5), which tells little of the deviation
Cell = tuple[str, Tightness | None]  # a deployment, and the limits relative to its predictions


@dataclass(slots=True)
class Counts:
    """Counts of requests."""

    replayed: int = 0
    not_decided: int = 0  # LiteLLM chose: there is no decision to replay
    no_candidate: int = 0  # the new YAML does not have its group, or has none of its candidates
    other_policy: int = 0  # recorded under another policy than the old YAML's
    moved: int = 0
    drawn: int = 0
    never_measured: int = 0  # the new pick was never measured
    close: int = 0  # the uncertainty of a prediction is larger than its distance to another pick
    met: int = 0  # the new policy expects the SLO to be kept
    unpriced: int = 0


class Replay:
    """Replays one record after another. `old` and `new` compute costs at the old and the new YAML's prices."""

    def __init__(self, change: PolicyChange, old: Counterfactual, new: Counterfactual, draws: Draws) -> None:
        self._change, self._old, self._new, self._draws = change, old, new, draws
        self.counts = Counts()
        self.shares: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # deployment → recorded, new
        self.graded_picks = 0  # new picks whose quality rests on graded answers
        self.doubts: defaultdict[tuple[str, str], float] = defaultdict(float)  # sums of these qualities' deviations
        self._worths: dict[str, Worth] = {}  # by group with a target for quality
        self._cost = [0.0] * 5  # new, old, new², new·old, old²
        self._priced = 0
        self.quality = [0.0, 0.0]  # sums: recorded, new
        self.quality_bound = [0.0, 0.0]  # likewise, of the bounds that floors are held against
        self.quality_count = 0
        self.judged_before = [0, 0]  # met, judged: as recorded
        self.judged = [0, 0]  # met, judged: by the new SLO, where that can be told without `punctuality`
        self.punctuality: defaultdict[str, Punctuality] = defaultdict(Punctuality)  # by deployment
        self.waiting: defaultdict[Cell, int] = defaultdict(int)  # moved requests that `punctuality` will judge

    def add(self, record: Recorded) -> None:
        """Decides a record again, and counts the result."""
        decision, side = record.decision, self._change.group(record)
        if decision is None or record.deployment is None:
            self.counts.not_decided += 1
            return
        candidates = [] if side is None else self._change.candidates(record, decision, side)
        if side is None or not candidates:
            self.counts.no_candidate += 1
            return
        demand = self._change.demand(record, decision, side)
        worth = self._worth_of(record.model_group or "", side.settings)
        if worth is not None:
            demand = demand._replace(worth_usd=for_request(worth.usd, self._draws.random()))
        new = redecide(demand, candidates, side.settings, self._draws)
        if worth is not None:
            worth.see(new.pool, new.chosen)
        name = new.chosen.deployment_id
        self._count(record, name, new, is_other=decision.policy != self._change.old_policy)
        self._count_graded(record.category or "", new.chosen, decision.quality_confidence)
        self.counts.close += _is_close(new, demand.slo, side.settings)
        by_name = {one.deployment: one for one in decision.candidates}
        elsewhere = as_written_by(record, name)
        new_usd = self._count_cost(record, elsewhere, name, by_name.get(name))
        self._count_quality(by_name.get(record.deployment), new)
        served = next((one.prediction for one in candidates if one.facts.deployment_id == record.deployment), None)
        if served is None and record.deployment in by_name:
            served = prediction_of(by_name[record.deployment].predicted)
        self._judge(record, elsewhere, demand.slo, served, (new.chosen, new_usd))

    def _worth_of(self, group: str, settings: GroupSettings) -> Worth | None:
        """The worth learned from the records so far, as a worker would. `None` without a target for quality.

        A target in USD needs the whole day's traffic.
        """
        if settings.target is None or settings.target.quality_of_best is None:
            return None
        worth = self._worths.setdefault(group, Worth(settings.target))
        if self.counts.replayed % ENOUGH == 0:
            for _ in worth.refit(None):
                pass
        return worth

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
        if in_time is None:  # a latency in its SLO could not be measured at any deployment
            return
        if name == chosen.deployment_id or is_hit:
            met = judge(record, slo, None if served is None else served.quality_bound)
            if met is not None:
                _add(self.judged, is_hit=met)
        elif breaks_the_rest(elsewhere, slo, new_usd, chosen.prediction.quality_bound):
            _add(self.judged, is_hit=False)
        else:
            self.waiting[chosen.deployment_id, tightness(latencies, chosen.prediction)] += 1

    @property
    def cost(self) -> PairSums:
        """Sums of new and spent USD, over requests whose two costs are known."""
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

    def _count_graded(self, category: str, chosen: Assessment, confidence: float | None) -> None:
        """Counts a graded pick. Its bound lies as many standard deviations below the mean as its confidence says."""
        found = chosen.prediction
        mean, bound = found.quality, found.quality_bound
        if mean is None or bound is None or not found.quality_answers:
            return
        self.graded_picks += 1
        z = _NORMAL.inv_cdf(confidence or RULES.confidence)
        self.doubts[chosen.deployment_id, category] += max(mean - bound, 0.0) / max(z, LEAST_Z)

    def _count_cost(
        self, record: Recorded, elsewhere: Recorded, name: str, candidate: Candidate | None
    ) -> float | None:
        """Counts the costs. Returns what the request would have cost, USD."""
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
        old, now = None if before is None else before.predicted, new.chosen.prediction
        if old is not None and old.quality is not None and now.quality is not None:
            self.quality_count += 1
            pairs = (old.quality, old.sure_quality), (now.quality, now.quality_bound)
            for place, (mean, bound) in enumerate(pairs):
                self.quality[place] += mean
                self.quality_bound[place] += mean if bound is None else bound


def _is_close(found: Redecision, slo: Slo, group: GroupSettings) -> bool:
    """Whether the pick could as well be another one: the uncertainty of a live prediction is larger than its distance
    to a limit, or to another order of the scores. Only the pick's predictions and those of cheaper candidates count."""
    chosen = found.chosen
    most_usd = _cost_usd(chosen)
    for one in found.pool:
        if one is chosen or _cost_usd(one) < most_usd:
            for name in LATENCIES:
                limit_s, expected_s = getattr(slo, name), getattr(one.prediction, name)
                if limit_s and expected_s and abs(math.log(limit_s / expected_s)) < _doubt(one):
                    return True
    if chosen.scores is None or group.objective != "weighted":
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
    """The predicted cost in USD; an unknown cost is infinite."""
    return math.inf if candidate.prediction.cost_usd is None else candidate.prediction.cost_usd


def _doubt(candidate: Assessment) -> float:
    """The uncertainty of a live prediction, as a share of it; 0 for other predictions.

    The p90 of n latencies whose p95 is 1.6 to 2 times their median has a relative standard error of 0.4/√n to 0.6/√n.
    The uncertainty is about twice that.
    """
    prediction = candidate.prediction
    return 1 / math.sqrt(prediction.samples) if prediction.basis == "live" and prediction.samples else 0.0


def _add(hits_of_trials: list[int], *, is_hit: bool) -> None:
    hits_of_trials[0] += is_hit
    hits_of_trials[1] += 1
