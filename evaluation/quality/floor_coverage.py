"""How often a quality floor is violated where the bound says that it is kept, at any amount of evidence.

    python -m evaluation.quality.floor_coverage [--fleets 10] [--seed 0] [--save]

A fleet has ten deployments with ten categories, so ten fleets are 1,000 cells. Each cell has a typed number that counts
as 20 answers, and is worth as many: the truth scatters around it. Half of the scatter's variance is common to all
categories of a deployment. The answers come over 30 days. A cell violates a floor if its bound (confidence 0.9) reaches
the floor and its true quality does not. The study shows three rates. Two are at the worst floor: of all cells, and of
the cells that reach the floor, where a winner's curse would show. The third is over all floors, of the cells that a
router takes: in each category the cheapest deployment that reaches the floor. A lower typed number means cheaper.
`bound above truth` needs no floor.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from evaluation.shared.results import Aim, Save, conclude
from slo_router.contract.ages import DAY_S
from slo_router.quality.evidence import Batch, Cell, Evidence, update
from slo_router.quality.posterior import Belief, Rules, believe, shown
from slo_router.quality.sources import FEEDBACK, SUITE, learn

FLOORS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
AMOUNTS = (0, 5, 20, 100, 1_000)
DEPLOYMENTS, CATEGORIES, DAYS, NOISE, DROP = 10, 10, 30, 0.2, 0.1
LIMITS_PERCENT = {
    "of all cells": 5.0,
    "of those that reach it": 10.0,
    "of those taken": 10.0,
}  # 10: what a bound with confidence 0.9 promises


class World(NamedTuple):
    """What is simulated. `feedback`: the share of answers that are users' thumbs. `worse_every` n: every n-th
    deployment gets worse by DROP in all categories at half-time, unannounced. `boast`: typed numbers are too high by
    this. `is_flat`: a deployment has one typed number; its categories scatter by 0.08 around it. `is_typed`: whether
    anything is typed."""

    name: str
    feedback: float = 0.0
    worse_every: int | None = None
    boast: float = 0.0
    is_flat: bool = False
    is_typed: bool = True


WORLDS = (
    World("suite"),
    World("feedback, 20 % wrong", feedback=1.0),
    World("half suite, half feedback", feedback=0.5),
    World("the same, one model in ten gets 10 points worse", feedback=0.5, worse_every=10),
    World("the same, every model gets 10 points worse", feedback=0.5, worse_every=1),
    World("suite, typed numbers 10 points too high", boast=0.1),
    World("suite, one typed number for all categories", is_flat=True),
    World("suite, nothing typed", is_typed=False),
)
BARRED = WORLDS[:4]  # the aims are about these; the others show where the promise ends


class Truth(NamedTuple):
    """The true quality of a cell, now and in the first half of the time."""

    now: float
    before: float


def fleet(rng: random.Random, world: World) -> tuple[dict[Cell, float], dict[Cell, Truth]]:
    """The typed numbers and the truths of a fleet's cells."""
    typed, truth = {}, {}
    harder = [rng.gauss(0, 0.08) for _ in range(CATEGORIES)]
    for d in range(DEPLOYMENTS):
        level, shift = rng.gauss(0.75, 0.08), rng.gauss(0, 1)
        for c in range(CATEGORIES):
            cell = str(d), str(c)
            stated = min(max(level + harder[c], 0.3), 0.95)
            scatter = (stated * (1 - stated) / (Rules().prior_answers + 1) / 2) ** 0.5
            before = min(max(stated + scatter * (shift + rng.gauss(0, 1)), 0.02), 0.98)
            gets_worse = world.worse_every is not None and d % world.worse_every == 0
            typed[cell] = min((level if world.is_flat else stated) + world.boast, 0.98)
            truth[cell] = Truth(max(before - DROP, 0.02) if gets_worse else before, before)
    return typed, truth


def graded(rng: random.Random, truth: Truth, amount: int, world: World) -> Evidence:
    """The evidence of `amount` answers over the days, in a batch for each day and source."""
    counts: Counter[tuple[int, str]] = Counter()
    scores: Counter[tuple[int, str]] = Counter()
    for i in range(amount):
        day = i * DAYS // amount
        is_good = rng.random() < (truth.before if day < DAYS // 2 else truth.now)
        source = FEEDBACK if rng.random() < world.feedback else SUITE
        counts[day, source] += 1
        scores[day, source] += is_good != (source == FEEDBACK and rng.random() < NOISE)
    evidence = Evidence()
    for day, source in sorted(counts):
        evidence = update(evidence, Batch(source, counts[day, source], scores[day, source], day * DAY_S))
    return evidence


class Tally:
    """Counts over fleets: all cells, bounds above the truth, and the cells of each kind at each floor."""

    def __init__(self) -> None:
        self.cells = self.above = 0
        self.kinds: Counter[tuple[float, str]] = Counter()

    def add(self, beliefs: Mapping[Cell, Belief], truths: Mapping[Cell, Truth], typed: Mapping[Cell, float]) -> None:
        """Counts one fleet. The higher the typed numbers of a deployment, the dearer it is."""
        level = dict.fromkeys((cell[0] for cell in typed), 0.0)
        for (deployment, _), stated in typed.items():
            level[deployment] += stated

        def price(cell: Cell) -> float:
            return level[cell[0]]

        self.cells += len(beliefs)
        self.above += sum(belief.bound > truths[cell].now for cell, belief in beliefs.items())
        for floor in FLOORS:
            reached = [cell for cell, belief in beliefs.items() if belief.bound >= floor]
            taken = {cell[1]: cell for cell in sorted(reached, key=price, reverse=True)}
            self.kinds[floor, "reached"] += len(reached)
            self.kinds[floor, "violated"] += sum(truths[cell].now < floor for cell in reached)
            self.kinds[floor, "taken"] += len(taken)
            self.kinds[floor, "taken, violated"] += sum(truths[cell].now < floor for cell in taken.values())

    def _sum(self, kind: str) -> int:
        return sum(self.kinds[floor, kind] for floor in FLOORS)

    def percents(self) -> dict[str, float]:
        """The rates in percent. For the rate of reaching cells, a floor counts if a tenth of all cells reach it."""
        kinds, enough = self.kinds, [f for f in FLOORS if self.kinds[f, "reached"] >= self.cells / 10]
        rates = {
            "of all cells": [kinds[f, "violated"] / self.cells for f in FLOORS],
            "of those that reach it": [kinds[f, "violated"] / kinds[f, "reached"] for f in enough],
            "of those taken": [self._sum("taken, violated") / max(self._sum("taken"), 1)],
            "bound above truth": [self.above / self.cells],
            "cells that reach 0.7": [kinds[0.7, "reached"] / self.cells],
        }
        return {name: 100 * max(found, default=0.0) for name, found in rates.items()}


def study(world: World, amount: int, fleets: int, seed: int) -> dict[str, float]:
    """The rates, in percent."""
    rng, tally = random.Random(f"{seed} {world.name} {amount}"), Tally()
    for _ in range(fleets):
        typed, truths = fleet(rng, world)
        evidence = {cell: graded(rng, truth, amount, world) for cell, truth in truths.items()}
        rules = Rules(worths=learn(FEEDBACK, map(shown, evidence.values())))
        tally.add(believe(evidence, typed if world.is_typed else {}, DAYS * DAY_S, rules), truths, typed)
    return tally.percents()


def main(fleets: Annotated[int, typer.Option(min=1)] = 10, seed: int = 0, *, is_saved: Save = False) -> None:
    """How often a quality floor is violated where the bound says that it is kept."""
    found = {world.name: {str(n): study(world, n, fleets, seed) for n in AMOUNTS} for world in WORLDS}
    names = list(next(iter(found[WORLDS[0].name].values())))
    for world in WORLDS:
        table = Table("answers in each cell", *names, title=f"{world.name}: violated, %, {100 * fleets:,} cells")
        for amount, row in found[world.name].items():
            table.add_row(amount, *(f"{value:.1f}" for value in row.values()))
        Console(width=120).print(table)
    aims = [
        Aim.at_most(limit, f"{world.name}: violated {kind}", worst(found[world.name], kind), 1, " %")
        for world in BARRED
        for kind, limit in LIMITS_PERCENT.items()
    ]
    conclude({"fleets": fleets, "worlds": found}, aims, is_saved=is_saved)


def worst(rows: Mapping[str, Mapping[str, float]], kind: str) -> float:
    """The highest rate of a kind, over all amounts of evidence."""
    return max(row[kind] for row in rows.values())


if __name__ == "__main__":
    typer.run(main)
