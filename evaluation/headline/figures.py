"""What a side's requests cost, what their answers are worth, how long they took and how many were served. Pure.

Cost and quality are those recorded for the prompt and the model that answered. Shares are of the largest model's on the
same prompts. A request that gets no first token counts as if its first token came PATIENCE_S after the phase's end.

    completed    answers that ended while requests were sent, per second
    goodput      completed answers whose contract was kept, per second
    contract     first token within the limit, from a model at or above the category's floor
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from evaluation.face_off.summary import quantile
from evaluation.headline.play import PATIENCE_S, Phase, Seen
from evaluation.headline.pools import DEFAULT, Point, Recorded, value
from evaluation.headline.world import model_of
from evaluation.shared.results import Spread

Some = TypeVar("Some")


class Run(NamedTuple):
    """One phase on one side, with its prompts, its operating point and its limit."""

    world: Recorded
    point: Point
    phase: Phase
    ttft_limit_s: float
    seen: Sequence[Seen]

    @property
    def counted(self) -> list[Seen]:
        """The requests that count, without those sent while the system settles."""
        return [one for one in self.seen if one.sent_s >= 0]

    def is_kept(self, one: Seen) -> bool:
        """Whether the request's contract was kept."""
        if one.deployment is None or one.first_s is None or one.error:
            return False
        quality = self.point.qualities[self.world.models[model_of(self.world, one.deployment)].name]
        category = self.world.categories[one.row]
        floor = self.point.floors.get(category, self.point.floors[DEFAULT])
        is_good = quality.get(category, quality[DEFAULT]) >= floor
        return is_good and one.first_s - one.sent_s <= self.ttft_limit_s


class Figures(NamedTuple):
    """The figures of one side in one phase: USD, shares 0..1, seconds. `nan` if nothing was answered."""

    usd_per_1k: float
    cost: float
    quality: float
    ttft_p50_s: float
    ttft_p99_s: float
    completed_per_s: float
    goodput_per_s: float
    kept: float
    unanswered: float
    failed: float
    lag_p99_s: float  # how late the client sent


def figures(runs: Sequence[Run]) -> Figures:
    """The figures of one or more repeats of a phase."""
    counted = [(run, one) for run in runs for one in run.counted]
    answered = [(run, one) for run, one in counted if one.first_s is not None and one.deployment is not None]
    ended = [
        (run, one)
        for run in runs
        for one in run.seen
        if one.ended_s is not None and 0 <= one.ended_s < run.phase.seconds
    ]
    seconds = sum(run.phase.seconds for run in runs)
    waits = sorted(
        (one.first_s if one.first_s is not None else run.phase.seconds + PATIENCE_S) - one.sent_s
        for run, one in counted
        if not one.error
    )
    cost, quality, usd = math.nan, math.nan, math.nan
    if answered:
        world = runs[0].world
        rows = [one.row for _, one in answered]
        models = [model_of(world, one.deployment or "") for _, one in answered]
        cost, quality = value(world, rows, models)
        usd = float(1e3 * world.cost_usd[rows, models].mean())
    return Figures(
        usd_per_1k=usd,
        cost=cost,
        quality=quality,
        ttft_p50_s=quantile(waits, 0.50),
        ttft_p99_s=quantile(waits, 0.99),
        completed_per_s=len(ended) / seconds,
        goodput_per_s=sum(run.is_kept(one) for run, one in ended) / seconds,
        kept=sum(run.is_kept(one) for run, one in counted) / len(counted),
        unanswered=sum(one.first_s is None and not one.error for _, one in counted) / len(counted),
        failed=sum(one.error is not None for _, one in counted) / len(counted),
        lag_p99_s=quantile(sorted(one.lag_s for _, one in counted), 0.99),
    )


def answered_by(runs: Sequence[Run]) -> dict[str, float]:
    """Each model's share of the answers."""
    names = Counter(
        run.world.models[model_of(run.world, one.deployment)].name
        for run in runs
        for one in run.counted
        if one.first_s is not None and one.deployment is not None
    )
    return {name: count / names.total() for name, count in names.most_common()}


def spread(runs: Sequence[Run], field: str) -> Spread:
    """A figure over all repeats, with the lowest and the highest repeat."""
    return _spread([[run] for run in runs], runs, lambda some: float(getattr(figures(some), field)))


def ratio(ours: Sequence[Run], peers: Sequence[Run], field: str) -> Spread:
    """Ours ÷ theirs over all repeats, with the lowest and the highest pair of repeats."""
    pairs = list(zip(ours, peers, strict=True))
    return _spread(
        [[pair] for pair in pairs],
        pairs,
        lambda some: _over(*(float(getattr(figures(side), field)) for side in zip(*some, strict=True))),
    )


def _over(ours: float, theirs: float) -> float:
    """Ours ÷ theirs; `nan` if theirs is 0."""
    return ours / theirs if theirs else math.nan


def _spread(each: Sequence[Sequence[Some]], every: Sequence[Some], of: Callable[[Sequence[Some]], float]) -> Spread:
    values = [one for one in map(of, each) if not math.isnan(one)] or [math.nan]
    return Spread(of(every), min(values), max(values))


def saved(by_side: Mapping[str, Sequence[Run]]) -> dict[str, object]:
    """What is saved of one phase."""
    return {
        side: {field: spread(runs, field) for field in Figures._fields} | {"answered_by": answered_by(runs)}
        for side, runs in by_side.items()
    }
