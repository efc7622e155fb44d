"""What is believed of each deployment in each category, from graded answers and typed numbers.

    cell → the deployment's other categories, the category's other deployments → typed number

A cell is a deployment in a category. A typed number m counts as `prior_answers`. Half of its variance
m(1−m) ÷ (prior_answers + 1) is the deployment's, half its categories', until graded answers show how far these lie
apart. If categories hardly differ, a cell leans on its deployment. If they differ for all deployments alike, it leans
on the other deployments, too. Else it leans on itself. So a cell's prior is a Beta distribution of the typed number and
of what its `neighbours` say, without its own answers.

Answers fade by half every `half_life_s`. A deployment may also have changed at some batch, unannounced. Each such
moment is a hypothesis with a Beta distribution of its own, which starts weakly from what was believed before. The
hypotheses are weighed by how well they explain the answers. `mean` and `bound` are those of the mixture, so a drop
lowers the bound before anybody can be sure of the drop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.ages import DAY_S
from slo_router.quality.beta import Beta, log_beta, of_moments, quantile
from slo_router.quality.evidence import Batch, Cell, Evidence
from slo_router.quality.neighbours import Neighbours, Point, Said
from slo_router.quality.sources import PAIRED, WORTHS, Shown, Worths

Faded = dict[str, tuple[float, float]]  # by source: answers and the sum of their scores, faded by age

UNTYPED = Beta(1.0, 1.0)  # where nobody typed a number
UNTYPED_DEVIATION = (1 / 12) ** 0.5  # its standard deviation
EDGE = 0.01  # a prior mean lies at least so far from 0 and from 1
AFTER_CHANGE = 8.0  # after a change the quality before it counts as so many answers
_NOTHING = 0.0, 0.0
NEGLIGIBLE = 0.01  # weight of a hypothesis that is left out
SURE = 0.95  # a fall is told only if it is at least as likely as this


class Rules(NamedTuple):
    """How evidence is read. `confidence`: the chance that a quality reaches its bound. `hears_signals`: see `weak`."""

    confidence: float = 0.9
    prior_answers: float = 20.0
    half_life_s: float = 60 * DAY_S
    changes_per_answer: float = 1 / 500
    worths: Worths = WORTHS
    hears_signals: bool = False


RULES = Rules()


@dataclass(frozen=True, slots=True)
class Fall:
    """A quality has fallen, with the chance `sureness`: about when (Unix seconds), from which mean to which."""

    at_s: float
    before: float
    after: float
    sureness: float


class Belief(NamedTuple):
    """A quality (0..1): its mean, the bound that it keeps with the stated confidence, and what both rest on.

    `answers` counts graded answers as they weigh; `sources` has them by source. `at_s` (Unix seconds) is the newest
    answer's time, `None` without one. `typed` is the configured number. `fall`: a change for the worse, if it is sure.
    """

    mean: float
    bound: float
    answers: float
    sources: Mapping[str, float]
    at_s: float | None
    typed: float | None
    fall: Fall | None = None


class _Hypothesis(NamedTuple):
    """What is believed if nothing changed, or if it changed at `at_s`, from `before`; and how likely that is."""

    weight: float
    now: Beta
    before: Beta | None = None
    at_s: float = 0.0


class _Tally(NamedTuple):
    """The number of answers as they weigh, and of successes among them."""

    answers: float
    success: float

    @property
    def mean(self) -> float:
        return self.success / self.answers

    def variance(self, expected: float) -> float:
        """The variance of the mean, by the expected mean. By the mean that was seen a lucky cell would weigh more."""
        return expected * (1 - expected) / self.answers

    def shape(self, prior: Beta) -> Beta:
        return Beta(prior.a + self.success, prior.b + self.answers - self.success)


def believe(
    evidence: Mapping[Cell, Evidence], typed: Mapping[Cell, float], now_s: float, rules: Rules = RULES
) -> dict[Cell, Belief]:
    """The belief of every cell of one group's deployments that has evidence or a typed number.

    Raises KeyError for a source without a worth.
    """
    return dict(filter(None, believing(evidence, typed, now_s, rules)))


def believing(
    evidence: Mapping[Cell, Evidence],
    typed: Mapping[Cell, float],
    now_s: float,
    rules: Rules = RULES,
    only: Collection[str] | None = None,
    *,
    is_shared: bool = True,
) -> Iterator[tuple[Cell, Belief] | None]:
    """The same, step by step, for there may be many cells. `only`: of these deployments. `None`: a step without one.

    Deployments say nothing of each other unless `is_shared`. Nor do they in a category where answers were compared: the
    comparisons tell what they have in common.
    """
    tallies = {cell: _tally(evidence.get(cell, Evidence()).batches, now_s, rules) for cell in [*typed, *evidence]}
    compared = {cell[1] for cell, found in evidence.items() if any(one.source == PAIRED for one in found.batches)}
    apart = compared if is_shared else {cell[1] for cell in tallies}
    neighbours: dict[bool, Neighbours] = {}
    for is_typed in (True, False):
        cells = {cell: tally for cell, tally in tallies.items() if (cell in typed) is is_typed}
        neighbours[is_typed] = _neighbours(cells, typed, apart, rules)
        yield from neighbours[is_typed].solve()
    for cell, tally in tallies.items():
        if only is not None and cell[0] not in only:
            continue
        batches = evidence.get(cell, Evidence()).batches
        prior = _prior(cell, neighbours[cell in typed].say(cell), typed, rules)
        hypotheses = _hypotheses(prior, batches, now_s, rules)
        mixture = [(one.weight, one.now) for one in hypotheses]
        yield (
            cell,
            Belief(
                sum(weight * shape.mean for weight, shape in mixture),
                quantile(1 - rules.confidence, mixture),
                tally.answers,
                {one: rules.worths[one].weight * count for one, (count, _) in faded(batches, now_s, rules).items()},
                batches[-1].at_s if batches else None,
                typed.get(cell),
                _fall(hypotheses),
            ),
        )


def _tally(batches: Sequence[Batch], now_s: float, rules: Rules) -> _Tally:
    """The batches together, faded, each source corrected as a whole."""
    return _weigh(faded(batches, now_s, rules), rules)


def faded(batches: Sequence[Batch], now_s: float, rules: Rules) -> Faded:
    """The sums of batches, by source, faded by age."""
    found: Faded = {}
    for source, answers, score, at_s in batches:
        left = 0.5 ** (max(now_s - at_s, 0.0) / rules.half_life_s)
        count, good = found.get(source, (0.0, 0.0))
        found[source] = count + left * answers, good + left * score
    return found


def _weigh(sums: Faded, rules: Rules) -> _Tally:
    answers = success = 0.0
    for source, (count, score) in sums.items():
        worth = rules.worths[source]
        answers += worth.weight * count
        success += worth.weight * worth.success(score, count)
    return _Tally(answers, min(max(success, 0.0), answers))


def _typed(cell: Cell, typed: Mapping[Cell, float], rules: Rules) -> tuple[float, float]:
    """Mean and variance of what is believed before any answer."""
    mean = typed.get(cell)
    if mean is None:
        return UNTYPED.mean, UNTYPED_DEVIATION**2
    mean = min(max(mean, EDGE), 1 - EDGE)
    return mean, mean * (1 - mean) / (rules.prior_answers + 1)


def _neighbours(
    tallies: Mapping[Cell, _Tally], typed: Mapping[Cell, float], apart: Collection[str], rules: Rules
) -> Neighbours:
    """Takes typed cells alone, or untyped cells: how far untyped ones lie above 0.5 says nothing of typed ones."""
    stated = {cell: _typed(cell, typed, rules) for cell in tallies}
    points = {
        cell: Point(tally.mean - stated[cell][0], tally.variance(stated[cell][0]))
        for cell, tally in tallies.items()
        if tally.answers
    }
    return Neighbours(points, {cell: variance for cell, (_, variance) in stated.items()}, apart)


def _prior(cell: Cell, said: Said, typed: Mapping[Cell, float], rules: Rules) -> Beta:
    """What is believed of a cell before its own answers."""
    mean = _typed(cell, typed, rules)[0] + said.mean
    return of_moments(min(max(mean, EDGE), 1 - EDGE), said.variance)


def _hypotheses(prior: Beta, batches: Sequence[Batch], now_s: float, rules: Rules) -> list[_Hypothesis]:
    """One hypothesis that nothing changed, and one of a change before each batch but the first."""
    each, every = [faded([one], now_s, rules) for one in batches], faded(batches, now_s, rules)
    whole = _weigh(every, rules)
    found, logs = [_Hypothesis(1.0, whole.shape(prior))], [_explains(prior, whole)]
    earlier: Faded = {}
    for i in range(1, len(batches)):
        earlier = _plus(earlier, each[i - 1], 1)
        before, after = _weigh(earlier, rules), _weigh(_plus(every, earlier, -1), rules)
        until = before.shape(prior)
        start = Beta(AFTER_CHANGE * until.mean, AFTER_CHANGE * (1 - until.mean))
        found.append(_Hypothesis(1.0, after.shape(start), until, batches[i].at_s))
        span = (batches[i - 1].answers + batches[i].answers) / 2 * rules.worths[batches[i].source].weight
        logs.append(_explains(prior, before) + _explains(start, after) + log(min(rules.changes_per_answer * span, 0.5)))
    top = max(logs)
    weights = [exp(one - top) for one in logs]
    kept = [(weight, one) for weight, one in zip(weights, found, strict=True) if weight > NEGLIGIBLE * sum(weights)]
    total = sum(weight for weight, _ in kept)
    return [one._replace(weight=weight / total) for weight, one in kept]


def _fall(hypotheses: Sequence[_Hypothesis]) -> Fall | None:
    """The sureness is that of all hypotheses of a change. Time and means are those of the likeliest one."""
    likeliest, sureness = 0.0, 0.0
    found = None
    for weight, now, before, at_s in hypotheses:
        if before is not None:
            spread = (before.variance + now.variance) ** 0.5
            sureness += weight * NormalDist(0, spread).cdf(before.mean - now.mean)
            if weight > likeliest:
                likeliest, found = weight, Fall(at_s, before.mean, now.mean, 0.0)
    if found is None or sureness < SURE:
        return None
    return Fall(found.at_s, found.before, found.after, sureness)


def _plus(one: Faded, other: Faded, times: int) -> Faded:
    """The sum, or where `times` is −1 the difference."""
    added = {
        source: (one.get(source, _NOTHING)[0] + times * count, one.get(source, _NOTHING)[1] + times * score)
        for source, (count, score) in other.items()
    }
    return {**one, **added}


def _explains(prior: Beta, seen: _Tally) -> float:
    """The logarithm of the chance of these answers."""
    a, b = seen.shape(prior)
    return log_beta(a, b) - log_beta(*prior)


def shown(evidence: Evidence) -> Mapping[str, Shown]:
    """What each source showed, for `sources.learn`."""
    found: dict[str, Shown] = {}
    for batch in evidence.batches:
        before = found.get(batch.source, Shown(0.0, 0.0))
        found[batch.source] = Shown(before.answers + batch.answers, before.score + batch.score)
    return MappingProxyType(found)
