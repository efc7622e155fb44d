"""The whole evaluation of a table, as `slo-router evaluate` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slo_router.operator.evaluating.grouping import groups_of
from slo_router.operator.evaluating.study import Learned, Standing, learning_curve, standings, verdict
from slo_router.operator.evaluating.table import Table

ASSUMPTIONS = (
    "A label is a prompt that every model answered and whose answers were graded.",
    "Costs are shares of what the strongest model costs on the same prompts.",
    "An operating point is chosen on validation and read on test prompts: the quality reached may miss a little.",
    "Intervals are 95 % over seeds; seeds share prompts, so they tell how the splits scatter, not other traffic.",
    "Prompt length, article and complexity router sort prompts into groups, and learn as ours does what serves them.",
    "The oracle knows each prompt's outcomes. Nobody can have it.",
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality and cost of the strongest and the cheapest model, what each router reaches, and what follows."""

    table: str
    prompts: int
    models: Sequence[str]
    strongest: str
    strongest_quality: float
    strongest_usd: float  # a prompt
    cheapest: str
    cheapest_quality: float
    cheapest_usd: float
    seeds: int
    standings: Sequence[Standing]
    curve: Sequence[Learned]
    verdict: Sequence[str]
    notes: Sequence[str]


def evaluate_table(
    table: Table, name: str, targets: Sequence[float], seeds: int, *, asks_litellm: bool = True
) -> Evaluation:
    """Evaluates all routers; with `asks_litellm` also LiteLLM's complexity router, which needs LiteLLM's import."""
    groups, remarks = groups_of(table, asks_litellm=asks_litellm)
    found = standings(table, groups, targets, seeds)
    quality, usd = table.score.mean(axis=0), table.cost_usd.mean(axis=0)
    strong, weak = table.strongest, table.cheapest
    return Evaluation(
        name,
        len(table.prompts),
        table.models,
        table.models[strong],
        float(quality[strong]),
        float(usd[strong]),
        table.models[weak],
        float(quality[weak]),
        float(usd[weak]),
        seeds,
        found,
        learning_curve(table, groups, max(targets), seeds),
        verdict(found),
        [*table.notes, *remarks, *ASSUMPTIONS],
    )
