"""What `slo-router evaluate` finds on recorded outcomes: the worth of routing by category, beside other routers.

    python -m evaluation.quality.router_value [--seeds 5] [--save]

The study uses two tables of real models' graded answers: MMLU-Pro (14 subjects) and ZeroEval (GSM8K, MATH, CRUXEval).
Some models are left out: a pair in MMLU-Pro of which one often answered without reasoning (an artefact of its harness),
and models whose hidden tokens are missing from their cost. Costs are the tables' own, and again at today's prices.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from evaluation.shared.data import ANSWERS, MMLU_PRO, PRICES
from evaluation.shared.results import Aim, Save, conclude
from slo_router.operator.evaluating.evaluation import Evaluation, evaluate_table
from slo_router.operator.evaluating.grouping import LENGTH, OURS
from slo_router.operator.evaluating.study import CONSTANT, MIX, AtTarget, Standing
from slo_router.operator.evaluating.table import Choice, read_prices, read_table

TABLES: dict[str, tuple[Path, list[str]]] = {
    "MMLU-Pro": (MMLU_PRO, ["gemini-1.5-*"]),
    "ZeroEval": (ANSWERS, ["o1-*"]),
}
TARGETS = (0.94, 0.95, 0.99)
LABELS = 300


def at(made: Evaluation, router: str, target: float) -> AtTarget:
    """What a router reaches at a target."""
    return next(one for one in standing(made, router).targets if one.target == target)


def standing(made: Evaluation, router: str) -> Standing:
    """The standing of one router."""
    return next(one for one in made.standings if one.router == router)


def aims(name: str, made: Evaluation, priced: Evaluation) -> Iterator[Aim]:
    """What the project asks of routing by category."""
    share = at(made, OURS, 0.99).cost.mean / at(made, MIX, 0.99).cost.mean
    yield Aim.at_most(0.75, f"{name}, at 99 %: cost of the random mix's", share)
    yield Aim.at_most(
        0.36, f"{name}, at 94 %, today's prices: cost of the strongest's", at(priced, OURS, 0.94).cost.mean
    )
    for target in TARGETS:
        found = at(made, OURS, target)
        for peer, over in ((CONSTANT, found.over_constant), (MIX, found.over_mix)):
            text = f"{name}, at {target:.0%}: cost less the {peer}'s {over.mean:.2f}, not above 0 by more than noise"
            yield Aim(text, over.low is None or over.low <= 0)
    ours, length = (apgr(made, router) for router in (OURS, LENGTH))
    yield Aim(f"{name}, {LABELS} labels: APGR {ours:.3f}, more than {LENGTH}'s {length:.3f}", ours > length)


def apgr(made: Evaluation, router: str) -> float:
    """A router's APGR with LABELS labels."""
    return statistics.fmean(one.apgr.mean for one in made.curve if (one.labels, one.router) == (LABELS, router))


def main(seeds: Annotated[int, typer.Option(min=2)] = 5, *, is_saved: Save = False) -> None:
    """What routing by category is worth on recorded outcomes."""
    figures: dict[str, object] = {}
    found: list[Aim] = []
    for name, (path, left_out) in TABLES.items():
        made = evaluate_table(read_table(path, Choice(leave_out=left_out)), name, TARGETS, seeds)
        today = read_table(path, Choice(leave_out=left_out, prices=read_prices(PRICES)))
        priced = evaluate_table(today, name, TARGETS, seeds, asks_litellm=False)
        for one in made.standings:
            print(
                name, one.router, *(f"{a.target:.0%}: {a.cost.mean:.2f} at {a.quality.mean:.3f}" for a in one.targets)
            )
        for line in made.verdict:
            print(f"{name}: {line}")
        found += aims(name, made, priced)
        figures[name] = {
            "prompts": made.prompts,
            "models": len(made.models),
            "strongest": made.strongest,
            "routers": {one.router: row(one) for one in made.standings},
            "today": {one.router: row(one) for one in priced.standings},
            "curve": {
                router: {str(one.labels): one.apgr.mean for one in made.curve if one.router == router}
                for router in dict.fromkeys(one.router for one in made.curve)
            },
        }
    conclude({"seeds": seeds, "tables": figures}, found, is_saved=is_saved)


def row(one: Standing) -> dict[str, object]:
    """What docs/evidence.md shows of a router."""
    return {
        "apgr": one.apgr.mean,
        "aiq": one.aiq.mean,
        "targets": {
            f"{a.target:.2f}": {
                "cost": {"value": a.cost.mean, "lowest": a.cost.low, "highest": a.cost.high},
                "quality": a.quality.mean,
            }
            for a in one.targets
        },
    }


if __name__ == "__main__":
    typer.run(main)
