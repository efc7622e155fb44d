"""What each router costs at a quality, on prompts that it has not seen: splits, baselines, seeds, and the verdict.

There are five folds, each with the same part of every group of `ours`: two for training, two for validation, one for
test. Each seed tests another fold, and after five seeds the prompts are shuffled anew. So five seeds test every prompt
once. The strongest model is the one with the best mean in the whole table. Costs are shares of what it costs on the
test prompts.

    random mix      prompts shared at random between models: a ladder without groups
    best constant   one model for all prompts: the cheapest that keeps the quality on validation
    oracle          knows each prompt's scores and costs; nobody can have it

AIQ is the mean quality, as a share of the strongest's, over all costs from the cheapest model's to the strongest's.
APGR is the part of the way from the cheapest model's quality to the strongest's that the AIQ has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slo_router.contract.intervals import student
from slo_router.operator.evaluating.grouping import LENGTH, OURS, Groups
from slo_router.operator.evaluating.ladder import Data, climb, foreseen
from slo_router.operator.evaluating.table import Table

MIX, CONSTANT, ORACLE = "random mix", "best constant", "oracle"
FOLDS, VALIDATION_FOLDS = 5, 2  # one fold is for test, the rest for training
LABELS = (50, 100, 300, 1_000, 3_000, 5_000)
CONFIDENCE = 0.95
Rows = NDArray[np.intp]


class Figure(NamedTuple):
    """A mean over seeds, with a 95 % interval where there are two or more."""

    mean: float
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(values: Sequence[float]) -> Figure:
        """The figure over at least one seed."""
        if len(values) < 2:
            return Figure(values[0])
        interval = student(values, CONFIDENCE)
        return Figure(sum(values) / len(values), interval.low, interval.high)


class AtTarget(NamedTuple):
    """At a share of the strongest model's quality: cost and quality that were reached, as shares of the strongest's."""

    target: float
    cost: Figure
    quality: Figure
    over_constant: Figure  # its cost less the best constant's
    over_mix: Figure  # its cost less the random mix's


class Standing(NamedTuple):
    """The figures of one router."""

    router: str
    targets: Sequence[AtTarget]
    aiq: Figure
    apgr: Figure


class Learned(NamedTuple):
    """What a router reaches that has learned from `labels`: prompts, each graded with every model."""

    labels: int
    router: str
    apgr: Figure
    cost: Figure  # at the highest target
    quality: Figure


class Point(NamedTuple):
    """What one router reaches with one seed."""

    costs: Sequence[float]
    qualities: Sequence[float]
    aiq: float
    apgr: float


def standings(table: Table, groups: Mapping[str, Groups], targets: Sequence[float], seeds: int) -> list[Standing]:
    """All routers, over all seeds."""
    by_seed = []
    for seed in range(seeds):
        training, validation, test = split(groups[OURS], seed)
        by_seed.append(points(table, groups, (training, validation, test), targets))
    found = []
    for router in by_seed[0]:
        rows = [one[router] for one in by_seed]
        at = [
            AtTarget(
                target,
                Figure.of([row.costs[i] for row in rows]),
                Figure.of([row.qualities[i] for row in rows]),
                *(
                    Figure.of([one[router].costs[i] - one[peer].costs[i] for one in by_seed])
                    for peer in (CONSTANT, MIX)
                ),
            )
            for i, target in enumerate(targets)
        ]
        found.append(Standing(router, at, Figure.of([r.aiq for r in rows]), Figure.of([r.apgr for r in rows])))
    return found


def learning_curve(table: Table, groups: Mapping[str, Groups], target: float, seeds: int) -> list[Learned]:
    """`ours` and its peers from few labels to many, half of them for training, half for validation."""
    found = []
    most = int(len(table.prompts) * (1 - 1 / FOLDS))
    few = {name: one for name, one in groups.items() if name in (OURS, LENGTH)}
    for labels in [one for one in LABELS if one <= most]:
        by_seed = []
        for seed in range(seeds):
            training, validation, test = split(groups[OURS], seed)
            known = np.random.default_rng(seed).permutation(np.concatenate([training, validation]))[:labels]
            cut = labels // 2
            by_seed.append(points(table, few, (known[:cut], known[cut:], test), [target]))
        for router in by_seed[0]:
            rows = [one[router] for one in by_seed]
            cost, quality = Figure.of([r.costs[0] for r in rows]), Figure.of([r.qualities[0] for r in rows])
            if router != ORACLE:
                found.append(Learned(labels, router, Figure.of([r.apgr for r in rows]), cost, quality))
    return found


def split(strata: Groups, seed: int) -> tuple[Rows, Rows, Rows]:
    """Training, validation and test rows, each with the same part of every stratum."""
    rng = np.random.default_rng(seed // FOLDS)
    folds = np.empty(len(strata), dtype=np.intp)
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        folds[rows] = (np.arange(len(rows)) + rng.integers(FOLDS)) % FOLDS
    part = (folds - seed) % FOLDS  # 0: test, 1 and 2: validation
    return (
        np.flatnonzero(part > VALIDATION_FOLDS),
        np.flatnonzero((part > 0) & (part <= VALIDATION_FOLDS)),
        np.flatnonzero(part == 0),
    )


def points(
    table: Table, groups: Mapping[str, Groups], parts: tuple[Rows, Rows, Rows], targets: Sequence[float]
) -> dict[str, Point]:
    """What each router reaches with one split."""
    strong, weak = table.strongest, table.cheapest
    whole = Data(table.score, table.cost_usd / table.cost_usd[:, strong].mean())
    training, validation, test = (whole.at(rows) for rows in parts)
    ladders = {
        name: climb(*((data, found[rows]) for data, rows in zip((training, validation, test), parts, strict=True)))
        for name, found in groups.items()
    }
    alike = [np.zeros(len(rows), dtype=np.intp) for rows in parts]
    ladders[MIX] = climb(*zip((training, validation, test), alike, strict=True))
    ladders[ORACLE] = foreseen(validation, test)
    best, cost = float(test.score[:, strong].mean()), float(test.cost[:, strong].mean())
    needed = [target * float(validation.score[:, strong].mean()) for target in targets]
    bottom, floor = float(test.cost[:, weak].mean()), float(test.score[:, weak].mean()) / best

    def point(reached: Iterator[tuple[float, float]], area: float) -> Point:
        costs, qualities = zip(*((c / cost, q / best) for c, q in reached), strict=True)
        aiq = area / best
        return Point(costs, qualities, aiq, (aiq - floor) / (1 - floor) if floor < 1 else 0.0)

    found = {
        name: point((ladder.keeping(need) for need in needed), ladder.area(bottom, cost))
        for name, ladder in ladders.items()
    }
    constants = Constants(
        Data(*(part.mean(axis=0) for part in validation)), Data(*(part.mean(axis=0) for part in test))
    )
    found[CONSTANT] = point((constants.keeping(need) for need in needed), constants.area(bottom, cost))
    return {name: found[name] for name in (*groups, MIX, CONSTANT, ORACLE)}


class Constants(NamedTuple):
    """Each model alone: mean score and cost on validation and on test."""

    seen: Data
    read: Data

    def keeping(self, quality: float) -> tuple[float, float]:
        """Cost and quality on test of the cheapest model that keeps `quality` on validation, else of the best there."""
        enough = np.flatnonzero(self.seen.score >= quality)
        at = enough[np.argmin(self.seen.cost[enough])] if len(enough) else np.argmax(self.seen.score)
        return float(self.read.cost[at]), float(self.read.score[at])

    def area(self, low: float, high: float) -> float:
        """Mean quality, over all costs, of the model that is not dearer and best on validation."""
        qualities = []
        for cost in np.linspace(low, high, 400):
            affordable = np.flatnonzero(self.read.cost <= cost + 1e-12)
            qualities.append(self.read.score[affordable[np.argmax(self.seen.score[affordable])]])
        return float(np.mean(qualities))


def beats_constant(at: AtTarget) -> bool:
    """Whether a router costs less than the best constant by more than noise, and misses the target by noise at most."""
    cheaper = at.over_constant.mean if at.over_constant.high is None else at.over_constant.high
    quality = at.quality.mean if at.quality.high is None else at.quality.high
    return cheaper < 0 and quality >= at.target


def verdict(found: Sequence[Standing]) -> list[str]:
    """The verdict in words, for each target."""
    routers = [one for one in found if one.router not in (CONSTANT, ORACLE)]
    lines = []
    for i, at in enumerate(found[0].targets):
        winners = [one for one in routers if beats_constant(one.targets[i])]
        where = f"at {at.target:.0%} of the strongest model's quality"
        if not winners:
            lines.append(f"{where}, no router beats the best constant model by more than noise: use that model alone")
            continue
        best = min(winners, key=lambda one: one.targets[i].cost.mean)
        lines.append(
            f"{where}, cheaper than the best constant model: {', '.join(one.router for one in winners)}; cheapest is "
            f"{best.router}, {best.targets[i].cost.mean:.2f} of the strongest model's cost"
        )
    return lines
