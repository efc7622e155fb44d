"""Other pools, worked out from recorded answers alone: what routing by category costs there, and whether it pays."""

from __future__ import annotations

from typing import NamedTuple

from evaluation.headline.pools import ELSEWHERE, Pool
from evaluation.shared.data import PRICES
from slo_router.operator.evaluating.evaluation import evaluate_table
from slo_router.operator.evaluating.grouping import OURS
from slo_router.operator.evaluating.study import CONSTANT, MIX, ORACLE, Figure, beats_constant
from slo_router.operator.evaluating.table import Choice, read_prices, read_table


class Worth(NamedTuple):
    """At one share of the strongest model's quality: costs and reached quality, as shares of that model's."""

    pool: str
    prompts: int
    strongest: str
    ours: Figure
    quality: Figure
    constant: Figure
    mix: Figure
    oracle: Figure
    beats_constant: bool  # by more than noise
    beats_mix: bool


def worth(pool: Pool, share: float, seeds: int) -> Worth:
    """A pool with its table's own categories. The operating point is chosen on validation, and read on test prompts."""
    table = read_table(pool.path, Choice(pool.models, pool.left_out, prices=read_prices(PRICES)))
    made = evaluate_table(table, pool.name, [share], seeds, asks_litellm=False)
    at = {one.router: one.targets[0] for one in made.standings}
    ours, mix = at[OURS], at[OURS].over_mix
    return Worth(
        pool.name,
        made.prompts,
        made.strongest,
        ours.cost,
        ours.quality,
        at[CONSTANT].cost,
        at[MIX].cost,
        at[ORACLE].cost,
        beats_constant(ours),
        (mix.mean if mix.high is None else mix.high) < 0,
    )


def elsewhere(share: float, seeds: int) -> list[Worth]:
    """The worth of each pool in ELSEWHERE."""
    return [worth(pool, share, seeds) for pool in ELSEWHERE]


def remark(one: Worth) -> str:
    """Says in words whether routing pays in this pool."""
    if one.beats_constant and one.beats_mix:
        return "pays"
    if one.beats_constant:
        return "pays beside one model, not beside a random mix"
    return "does not pay: no better than the best single model by more than noise"
