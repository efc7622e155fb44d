"""Whether the objective `value` keeps its target on real outcomes, and what it costs beside the best single model.

    python -m evaluation.quality.value_target [--seeds 5] [--labels 1000] [--save]

The study uses two tables of real models' graded answers, at today's prices. Some prompts count as graded: the project's
own posterior makes the qualities from them. The other prompts are traffic in random order. The worth of quality moves
as in a worker, with a refresh interval for each `PER_ROUND` requests. The result is what the traffic's answers scored
and cost.

    random mix      uses the models' means alone: two neighbours on the hull each take a share of the requests
    best constant   the cheapest single model whose graded answers keep the share

A target in USD is played on two days with equally many requests: the first day tells how many requests come.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Shown

from evaluation.quality.router_value import TABLES
from evaluation.shared.data import PRICES
from evaluation.shared.results import Aim, Save, Spread, conclude
from slo_router.contract.ages import DAY_S
from slo_router.contract.settings.group import Target
from slo_router.operator.evaluating.ladder import COST_ANSWERS
from slo_router.operator.evaluating.table import Choice, Floats, Table, read_prices, read_table
from slo_router.quality.evidence import Batch, Evidence
from slo_router.quality.posterior import believe
from slo_router.quality.sources import SUITE
from slo_router.quality.worth import Option, for_request, picked, steps
from slo_router.worker.learning.spending import Spending
from slo_router.worker.learning.worths import Worth

SHARES = (0.94, 0.97, 0.99)
BUDGETS = (0.15, 0.3)  # as shares of what the strongest model costs for all requests
PER_ROUND = 20
MARGIN = 0.01  # a target may be missed by this share of the strongest's quality
OURS, MIX, CONSTANT = "value", "random mix", "best constant"
Rows = NDArray[np.intp]


class Part(NamedTuple):
    """Some prompts: what each model scored and cost on each, and the categories."""

    score: Floats
    cost: Floats
    categories: Sequence[str]


class Found(NamedTuple):
    """Quality and cost as shares of the strongest model's on the same prompts."""

    quality: float
    cost: float


def part(table: Table, rows: Rows) -> Part:
    """The part of the table with these rows."""
    names = table.categories or [""] * len(table.prompts)
    return Part(table.score[rows], table.cost_usd[rows], [names[row] for row in rows])


def offers(table: Table, graded: Part) -> Mapping[str, Sequence[Option]]:
    """By category, each model's believed quality and cost."""
    evidence: dict[tuple[str, str], Evidence] = {}
    costs: dict[tuple[str, str], float] = {}
    categories = np.array(graded.categories)
    for column, model in enumerate(table.models):
        mean_usd = float(graded.cost[:, column].mean())
        for category in sorted(set(table.categories or [""])):
            rows = categories == category
            score, cost = graded.score[rows, column], graded.cost[rows, column]
            batches = (Batch(SUITE, len(score), float(score.sum()), DAY_S),) if len(score) else ()
            evidence[model, category] = Evidence(batches)
            costs[model, category] = float(cost.sum() + COST_ANSWERS * mean_usd) / (len(cost) + COST_ANSWERS)
    beliefs = believe(evidence, {}, 2 * DAY_S)
    found: dict[str, list[Option]] = {}
    for (model, category), belief in beliefs.items():
        found.setdefault(category, []).append(Option(model, belief.mean, costs[model, category]))
    return found


def kept(table: Table, traffic: Part, offered: Mapping[str, Sequence[Option]], share: float) -> Found:
    """Plays a target for quality."""
    worth, columns, rng = Worth(Target(quality_of_best=share)), [], random.Random(0)
    for number, category in enumerate(traffic.categories):
        if number % PER_ROUND == 0:
            for _ in worth.refit(None):
                pass
        columns.append(
            table.models.index(picked(offered[category], for_request(worth.usd, rng.random())).deployment_id)
        )
        worth.offer(offered[category])
    return against(table, traffic, columns)


def spent(table: Table, traffic: Part, offered: Mapping[str, Sequence[Option]], budget: float) -> Found:
    """Plays a target in USD on the second of two days. The figures are those of the second day."""
    half = len(traffic.categories) // 2
    limit_usd = budget * float(traffic.cost[half : 2 * half, table.strongest].sum())
    worth, spending, columns = Worth(Target(usd_per_day=limit_usd)), Spending(""), []
    rng = random.Random(0)
    for _ in range(half):
        spending.spent("group", 0.0, DAY_S / 2)
    for number in range(half, 2 * half):
        now_s = DAY_S * (1 + (number - half) / half)
        if number % PER_ROUND == 0:
            for _ in worth.refit(spending.each_usd("group", limit_usd, now_s)):
                pass
        options = offered[traffic.categories[number]]
        columns.append(table.models.index(picked(options, for_request(worth.usd, rng.random())).deployment_id))
        worth.offer(options)
        spending.spent("group", float(traffic.cost[number, columns[-1]]), now_s)
    return against(table, Part(traffic.score[half:], traffic.cost[half:], traffic.categories[half:]), columns)


def constant(table: Table, graded: Part, traffic: Part, share: float) -> Found:
    """Plays the cheapest model whose graded answers keep the share."""
    quality, cost = graded.score.mean(axis=0), graded.cost.mean(axis=0)
    able = np.flatnonzero(quality >= share * quality.max())
    column = int(able[np.argmin(cost[able])])
    return against(table, traffic, [column] * len(traffic.categories))


def mix(table: Table, graded: Part, traffic: Part, share: float) -> Found:
    """The expected result of a random mix of two neighbouring models on the hull."""
    options = [
        Option(model, float(graded.score[:, column].mean()), float(graded.cost[:, column].mean()))
        for column, model in enumerate(table.models)
    ]
    wanted = share * max(one.quality for one in options)
    upper, lower = options[0], picked(options, 0.0)
    for worth_usd in [step.worth_usd * (1 + 1e-9) for step in steps(options)]:
        upper = picked(options, worth_usd)
        if upper.quality >= wanted:
            break
        lower = upper
    gain = upper.quality - lower.quality
    part_up = min(max((wanted - lower.quality) / gain, 0.0), 1.0) if gain > 0 else 0.0
    both = [
        against(table, traffic, [table.models.index(one.deployment_id)] * len(traffic.categories))
        for one in (lower, upper)
    ]
    return Found(*((1 - part_up) * a + part_up * b for a, b in zip(*both, strict=True)))


def against(table: Table, traffic: Part, columns: Sequence[int]) -> Found:
    """What these picks scored and cost, as shares of the strongest model for all prompts."""
    rows = np.arange(len(columns))
    return Found(
        float(traffic.score[rows, columns].mean() / traffic.score[:, table.strongest].mean()),
        float(traffic.cost[rows, columns].mean() / traffic.cost[:, table.strongest].mean()),
    )


def play(table: Table, seed: int, labels: int) -> dict[str, Found]:
    """The results of one seed, by target and router."""
    order = np.random.default_rng(seed).permutation(len(table.prompts))
    graded, traffic = part(table, order[:labels]), part(table, order[labels:])
    offered = offers(table, graded)
    found: dict[str, Found] = {}
    for share in SHARES:
        found[f"{share:.0%} {OURS}"] = kept(table, traffic, offered, share)
        found[f"{share:.0%} {MIX}"] = mix(table, graded, traffic, share)
        found[f"{share:.0%} {CONSTANT}"] = constant(table, graded, traffic, share)
    for budget in BUDGETS:
        found[f"USD {budget:g} {OURS}"] = spent(table, traffic, offered, budget)
    return found


def main(
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    labels: Annotated[int, typer.Option(min=50, help="Graded answers of each model.")] = 1_000,
    *,
    is_saved: Save = False,
) -> None:
    """Whether the objective `value` keeps its target on recorded outcomes."""
    figures: dict[str, object] = {}
    aims: list[Aim] = []
    for name, (path, left_out) in TABLES.items():
        table = read_table(path, Choice(leave_out=left_out, prices=read_prices(PRICES)))
        played = [play(table, seed, labels) for seed in range(seeds)]
        arms = {
            arm: (Spread.of(one[arm].quality for one in played), Spread.of(one[arm].cost for one in played))
            for arm in played[0]
        }
        shown = Shown("target", "quality", "cost", title=f"{name}: shares of the strongest's, {seeds} seeds")
        for arm, (quality, cost) in arms.items():
            shown.add_row(arm, quality.text(3), cost.text(3))
        Console().print(shown)
        aims += judged(name, arms)
        figures[name] = {
            arm: {"quality": asdict(quality), "cost": asdict(cost)} for arm, (quality, cost) in arms.items()
        }
    conclude({"seeds": seeds, "labels": labels, "tables": figures}, aims, is_saved=is_saved)


def judged(name: str, arms: Mapping[str, tuple[Spread, Spread]]) -> list[Aim]:
    """The aims: each target is kept, at no higher cost than the peers'."""
    found = []
    for share in SHARES:
        quality, cost = arms[f"{share:.0%} {OURS}"]
        text = f"{name}, {share:.0%} wanted: {quality.value:.3f} of the quality, at most {MARGIN:g} less"
        found.append(Aim(text, quality.value >= share - MARGIN))
        for peer in (MIX, CONSTANT):
            least = arms[f"{share:.0%} {peer}"][1]
            text = (
                f"{name}, {share:.0%}: cost {cost.text(3)}, the {peer}'s {least.text(3)}, not above by more than noise"
            )
            found.append(Aim(text, cost.lowest <= least.highest))
    for budget in BUDGETS:
        cost = arms[f"USD {budget:g} {OURS}"][1]
        found.append(Aim.at_most(1.0, f"{name}, USD: spent ÷ allowed, the most of all seeds", cost.highest / budget))
    return found


if __name__ == "__main__":
    typer.run(main)
