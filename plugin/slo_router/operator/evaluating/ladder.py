"""A router's choices from its cheapest to its best, and the point on that ladder which keeps a quality.

A router learns from training prompts what each model's quality and cost are in each of its groups. For a weight λ of
the cost it sends a group to the model with the highest quality − λ · cost; the ladder has these choices for many λ.
Validation prompts show the place between two rungs that just keeps a quality: there a share of the prompts takes the
upper rung. Test prompts show the cost and the quality at that place.

A model's quality in a group is its mean over all prompts plus its gain: what it gains or loses in this group, compared
with the other models. The gain is shrunk towards 0: by much if gains hardly differ beyond chance. How far they really
differ is their variance less the variance by chance, by the method of moments over all groups and models.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slo_router.operator.evaluating.grouping import Groups
from slo_router.operator.evaluating.table import Floats

COST_ANSWERS = 5.0  # a model's mean cost counts as this many answers, beside the group's answers
PRICES = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 240)])  # λ, where the strongest model costs 1


class Data(NamedTuple):
    """Scores and costs, a row for each prompt and a column for each model; the strongest costs 1 on average."""

    score: Floats
    cost: Floats

    def at(self, rows: NDArray[np.intp]) -> Data:
        """Some of the prompts."""
        return Data(self.score[rows], self.cost[rows])


class Ladder(NamedTuple):
    """Rungs from cheap to dear: cost and quality of each, as validation and as test prompts show them."""

    seen: Data  # on validation prompts; one column
    read: Data  # on test prompts

    def keeping(self, quality: float) -> tuple[float, float]:
        """Cost and quality on test at the place where validation just keeps `quality`, or of the best rung."""
        score = self.seen.score
        upper = int(np.argmax(score >= quality)) if (score >= quality).any() else len(score) - 1
        if upper == 0 or score[upper] < quality:
            return float(self.read.cost[upper]), float(self.read.score[upper])
        share = (quality - score[upper - 1]) / (score[upper] - score[upper - 1])
        cost, read = (
            (1 - share) * values[upper - 1] + share * values[upper] for values in (self.read.cost, self.read.score)
        )
        return float(cost), float(read)

    def area(self, low: float, high: float) -> float:
        """Mean quality over all costs from `low` to `high`: AIQ, after RouterBench."""
        order = np.argsort(self.read.cost, kind="stable")
        costs = np.linspace(low, high, 400)
        return float(np.interp(costs, self.read.cost[order], self.read.score[order]).mean())


def learn(data: Data, groups: Groups, count: int) -> Data:
    """Quality and cost of each model in each of `count` groups, from training prompts; a row for each group."""
    answers = np.bincount(groups, minlength=count)[:, None].astype(np.float64)
    held = np.maximum(answers, 1)
    mean = data.score.mean(axis=0)
    beside = data.score - data.score.mean(axis=1, keepdims=True) - (mean - mean.mean())  # a prompt's difficulty cancels
    gain = _sums(beside, groups, count) / held
    noise = beside.var(axis=0) / held
    several = answers[:, 0] > 1
    apart = float((gain[several] ** 2 - noise[several]).mean()) if several.sum() > 1 else 0.0
    kept = np.where(answers > 0, max(apart, 0.0) / (max(apart, 0.0) + noise + 1e-12), 0.0)
    cost = (_sums(data.cost, groups, count) + COST_ANSWERS * data.cost.mean(axis=0)) / (answers + COST_ANSWERS)
    return Data(mean + kept * gain, cost)


def climb(training: tuple[Data, Groups], validation: tuple[Data, Groups], test: tuple[Data, Groups]) -> Ladder:
    """The ladder of a router that sorts prompts into these groups."""
    count = 1 + max(int(groups.max()) for _, groups in (training, validation, test))
    chosen = choices(learn(*training, count))
    return rungs(*(_value(chosen, data, groups, count) for data, groups in (validation, test)))


def choices(learned: Data) -> NDArray[np.intp]:
    """From cheap to dear, a row for each choice: the model that each group takes."""
    chosen = np.argmax(learned.score - PRICES[::-1, None, None] * learned.cost, axis=2)
    is_new = np.concatenate([[True], (chosen[1:] != chosen[:-1]).any(axis=1)])
    return np.asarray(chosen[is_new])


def foreseen(validation: Data, test: Data) -> Ladder:
    """The ladder of an oracle that knows each prompt's scores and costs."""
    both = []
    for data in (validation, test):
        picks = [np.argmax(data.score - price * data.cost, axis=1) for price in PRICES[::-1]]
        rows = np.arange(len(data.score))
        means = [(data.score[rows, pick].mean(), data.cost[rows, pick].mean()) for pick in picks]
        both.append(Data(*np.array(means).T))
    return rungs(*both)


def rungs(seen: Data, read: Data) -> Ladder:
    """The rungs from cheap to dear. A rung that validation shows below a cheaper one gets the mean quality of both.

    No rung is picked because validation likes it: the luckiest of many rungs would promise what test does not keep.
    """
    level: list[tuple[float, int]] = []
    for score in seen.score:
        mean, count = float(score), 1
        while level and level[-1][0] >= mean:
            before, many = level.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        level.append((mean, count))
    levelled = np.concatenate([np.full(count, mean) for mean, count in level])
    return Ladder(Data(levelled, seen.cost), read)


def _value(chosen: NDArray[np.intp], data: Data, groups: Groups, count: int) -> Data:
    """What each choice (a row: the model of each group) scores and costs on these prompts."""
    at = np.arange(count)
    sums = (_sums(values, groups, count) for values in data)
    return Data(*(total[at, chosen].sum(axis=1) / len(groups) for total in sums))


def _sums(values: Floats, groups: Groups, count: int) -> Floats:
    return np.stack([np.bincount(groups, weights=column, minlength=count) for column in values.T], axis=1)
