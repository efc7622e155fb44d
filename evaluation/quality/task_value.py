"""What tasks of one's own are worth: trained from labels or clustered without, beside rules, length and one model.

    python -m evaluation.quality.task_value [--seeds 5] [--save]

The tables are those of `router_value`. In each split, no fit sees the test prompts. The classifier learns from the
graded prompts alone. Half of them train the router, and half choose its operating point. Each graded prompt gets the
category that a fit without this prompt tells. Clusters are made from 3,000 prompts, because prompts without labels cost
nothing. A router that knows no tasks stands for a configuration with one quality for each model.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from evaluation.quality.router_value import TABLES
from evaluation.shared.results import Aim, Save, conclude
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.operator.evaluating.grouping import LENGTH, Groups, by_length, inferred, numbered
from slo_router.operator.evaluating.study import MIX, ORACLE, Figure, Point, Rows, points, split
from slo_router.operator.evaluating.table import Choice, Table, read_table
from slo_router.operator.training.clusters import cluster
from slo_router.operator.training.fitting import Fitted, fit
from slo_router.operator.training.reading import Prompt
from slo_router.request.categories import instruction_windows, rules
from slo_router.request.trained import trained

LABELS = (300, 1_000, 4_000)  # graded prompts, if the table has as many
TARGETS = (0.94, 0.99)
CLUSTERS = (20, 100)
CLUSTERED = 3_000  # prompts
SURE = 0.7
TRAINED, RULES, TRUE = "trained", "built-in rules", "the table's categories"


class World(NamedTuple):
    """A table, its prompts as the fits see them with their categories, and the groups of fixed routers."""

    table: Table
    prompts: Sequence[Prompt]
    fixed: Mapping[str, Groups]  # groups by routers that learn none


def world_of(table: Table) -> World:
    """The world of a table, with its true categories."""
    names = ["-".join(one.lower().split()) for one in table.categories or ()]
    prompts = [Prompt(instruction_windows(text), name) for text, name in zip(table.prompts, names, strict=True)]
    by_rules = numbered(inferred(table.prompts, rules()))
    return World(table, prompts, {RULES: by_rules, LENGTH: by_length(table.prompts), TRUE: numbered(names)})


def named(count: int) -> str:
    """The name of the router with `count` clusters."""
    return f"{count} clusters"


def told(world: World, fitted: Fitted, learned: Rows) -> Groups:
    """The group of each prompt: for prompts that the fit learned from, the held-out one; else the classifier's."""
    tell = trained(fitted.classifier)
    held_out = dict(zip(learned.tolist(), fitted.told, strict=True))
    return numbered([held_out.get(row) or tell(one.windows) or UNSURE for row, one in enumerate(world.prompts)])


def of_seed(world: World, seed: int) -> dict[int, dict[str, Point]]:
    """Each router's point, by the number of graded prompts."""
    training, validation, test = split(world.fixed[TRUE], seed)
    both = np.concatenate([training, validation])
    groups = dict(world.fixed)
    some = np.random.default_rng(seed).permutation(both)[:CLUSTERED]
    for count in CLUSTERS:
        groups[named(count)] = told(world, cluster([world.prompts[row] for row in some], count, seed), some)
    found = {}
    for labels in (*(one for one in LABELS if one < len(both)), len(both) // 100 * 100):  # folds differ by a few
        known = np.random.default_rng(seed).permutation(both)[:labels]
        usable = enough(world, known)
        made = fit([world.prompts[row] for row in usable], SURE, seed)
        with_trained = {TRAINED: told(world, made, usable), **groups}
        parts = known[: labels // 2], known[labels // 2 :], test
        found[labels] = points(world.table, with_trained, parts, TARGETS)
    return found


def enough(world: World, known: Rows, fewest: int = 5) -> Rows:
    """The prompts without those whose category has too few labels to be learned."""
    names = [world.prompts[row].category for row in known]
    return np.array([row for row, name in zip(known, names, strict=True) if names.count(name) >= fewest])


def aims(name: str, by_seed: Sequence[Mapping[int, Mapping[str, Point]]]) -> Iterator[Aim]:
    """What the project wants of tasks."""
    few, most = LABELS[0], max(by_seed[0])
    over = ahead(by_seed, few, TRAINED, LENGTH)
    yield Aim(f"{name}, {few} labels: APGR of trained tasks {said(over)} beside prompt length", over.mean > 0)
    for labels in by_seed[0]:
        for count in CLUSTERS:
            over = ahead(by_seed, labels, named(count), MIX)
            text = f"{name}, no labels, {labels:,} graded: APGR of {named(count)} {said(over)} beside no tasks"
            yield Aim(f"{text}, not less by more than noise", over.high is None or over.high >= 0)
    for peer in (RULES, LENGTH):
        over = ahead(by_seed, most, TRAINED, peer)
        yield Aim(f"{name}, all labels: APGR of trained tasks {said(over)} beside {peer}", over.mean > 0)


def said(figure: Figure) -> str:
    """A figure with its interval."""
    return (
        f"{figure.mean:+.3f}" if figure.low is None else f"{figure.mean:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"
    )


def ahead(by_seed: Sequence[Mapping[int, Mapping[str, Point]]], labels: int, router: str, peer: str) -> Figure:
    """How much APGR a router is ahead of a peer."""
    return Figure.of([one[labels][router].apgr - one[labels][peer].apgr for one in by_seed])


def main(seeds: Annotated[int, typer.Option(min=2)] = 5, *, is_saved: Save = False) -> None:
    """What tasks of one's own are worth on recorded outcomes."""
    figures: dict[str, object] = {}
    found: list[Aim] = []
    for name, (path, left_out) in TABLES.items():
        world = world_of(read_table(path, Choice(leave_out=left_out)))
        by_seed = [of_seed(world, seed) for seed in range(seeds)]
        rows = {labels: row(by_seed, labels) for labels in by_seed[0]}
        for labels, routers in rows.items():
            show(name, labels, routers)
        found += aims(name, by_seed)
        figures[name] = {"prompts": len(world.prompts), "graded": {str(labels): one for labels, one in rows.items()}}
    conclude({"seeds": seeds, "sure": SURE, "tables": figures}, found, is_saved=is_saved)


def show(name: str, labels: int, routers: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the means over the seeds."""
    for router, one in routers.items():
        at = (f"{target}: {cost:.3f} at {quality:.3f}" for target, (cost, quality) in one["cost_and_quality"].items())
        print(f"{name}, {labels:,} graded, {router}: APGR {one['apgr']['value']:.3f},", *at)


def row(by_seed: Sequence[Mapping[int, Mapping[str, Point]]], labels: int) -> dict[str, dict[str, object]]:
    """What each router reaches: costs and qualities as shares of the strongest model's."""

    def reached(router: str) -> dict[str, object]:
        seen = [one[labels][router] for one in by_seed]
        apgr = Figure.of([one.apgr for one in seen])
        at = {
            f"{target:.2f}": [
                statistics.fmean(one.costs[i] for one in seen),
                statistics.fmean(one.qualities[i] for one in seen),
            ]
            for i, target in enumerate(TARGETS)
        }
        return {"apgr": {"value": apgr.mean, "lowest": apgr.low, "highest": apgr.high}, "cost_and_quality": at}

    return {router: reached(router) for router in by_seed[0][labels] if router != ORACLE}


if __name__ == "__main__":
    typer.run(main)
