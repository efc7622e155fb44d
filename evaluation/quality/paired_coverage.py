"""How often a quality floor is violated where the bound rests on comparisons with one graded deployment.

    python -m evaluation.quality.paired_coverage [--fleets 10] [--seed 0] [--save]

The fleets are those of `floor_coverage`: ten deployments with ten categories, typed numbers worth 20 answers. The
first deployment of a fleet has 200 graded answers in each category. The other nine have none: they are compared with
the first, on as many prompts as the row says, over 30 days. An answer is good or not; the prompt's own difficulty
decides half of the answers. The judge prefers a good answer to a bad one. It calls six in ten pairs of equal answers a
tie. The rates are those of `floor_coverage`, over the cells of the nine compared deployments.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from evaluation.quality.floor_coverage import DAYS, LIMITS_PERCENT, Tally, Truth, World, fleet, graded, worst
from evaluation.shared.results import Aim, Save, conclude
from slo_router.contract.ages import DAY_S
from slo_router.quality.comparing import LEAN, Outcomes, compared_evidence, with_compared
from slo_router.quality.evidence import Cell
from slo_router.quality.posterior import Rules, believe

AMOUNTS = (0, 20, 100, 500, 2_000)
REFERENCE, GRADED, TIES, ALIKE = "0", 200, 0.6, 0.5


class Judge(NamedTuple):
    """How often a verdict is wrong, and the standard deviation of the judge's liking for a deployment's style."""

    name: str
    turned: float = 0.05
    lean: float = LEAN
    world: World = World("suite")
    is_typed: bool = True


JUDGES = (
    Judge("a fair judge", turned=0.0, lean=0.0),
    Judge("as assumed: leans by 1.5 points, one verdict in twenty wrong"),
    Judge("one verdict in ten wrong", turned=0.1),
    Judge("as assumed, one model in ten gets 10 points worse", world=World("worse", worse_every=10)),
    Judge("as assumed, nothing is typed for those compared", is_typed=False),
    Judge("leans by 5 points", lean=0.05),
    Judge("one verdict in four wrong", turned=0.25),
    Judge("as assumed, typed numbers 10 points too high", world=World("boast", boast=0.1)),
)
BARRED = JUDGES[:5]  # the aims are about these; the others show where the promise ends


def compare(rng: random.Random, judge: Judge, both: tuple[Truth, Truth], amount: int) -> dict[int, Counter[int]]:
    """How comparisons ended for the first of `both`, by day. The judge may lean to one for its style, all the time."""
    lean = rng.gauss(0, judge.lean * 2**0.5)  # the difference of two styles, each with its own lean
    found: dict[int, Counter[int]] = {}
    for i in range(amount):
        day = i * DAYS // amount
        hard = rng.random()
        first, second = (
            (hard if rng.random() < ALIKE else rng.random()) < (truth.before if day < DAYS // 2 else truth.now)
            for truth in both
        )
        if rng.random() < abs(lean):
            says = 1 if lean > 0 else -1
        else:
            says = first - second if first != second or rng.random() < TIES else rng.choice((-1, 1))
        verdicts = {-says if rng.random() < judge.turned else says for _ in range(2)}
        found.setdefault(day, Counter())[verdicts.pop() if len(verdicts) == 1 else 0] += 1
    return found


def study(judge: Judge, amount: int, fleets: int, seed: int) -> dict[str, float]:
    """The rates, in percent."""
    rng, tally, rules = random.Random(f"{seed} {judge.name} {amount}"), Tally(), Rules()
    for _ in range(fleets):
        typed, truths = fleet(rng, judge.world)
        if not judge.is_typed:
            typed = {cell: stated for cell, stated in typed.items() if cell[0] == REFERENCE}
        reference = {cell: graded(rng, truths[cell], GRADED, World("")) for cell in truths if cell[0] == REFERENCE}
        rows = [row for cell in truths if cell[0] != REFERENCE for row in _rows(rng, judge, truths, cell, amount)]
        found = compared_evidence(reference, typed, rows, DAYS * DAY_S, rules)
        evidence = with_compared(reference, dict(filter(None, found)))
        beliefs = believe(evidence, typed, DAYS * DAY_S, rules)
        theirs = {cell: belief for cell, belief in beliefs.items() if cell[0] != REFERENCE}
        tally.add(theirs, truths, {cell: typed.get(cell, truths[cell].before) for cell in theirs})
    return tally.percents() if tally.cells else {}


def _rows(rng: random.Random, judge: Judge, truths: dict[Cell, Truth], cell: Cell, amount: int) -> list[Outcomes]:
    name, category = cell
    days = compare(rng, judge, (truths[cell], truths[REFERENCE, category]), amount)
    return [Outcomes(name, REFERENCE, category, got[1], got[0], got[-1], day * DAY_S) for day, got in days.items()]


def main(fleets: Annotated[int, typer.Option(min=1)] = 10, seed: int = 0, *, is_saved: Save = False) -> None:
    """How often a quality floor is violated where the bound rests on comparisons."""
    found = {
        judge.name: {str(n): study(judge, n, fleets, seed) for n in AMOUNTS if n or judge.is_typed} for judge in JUDGES
    }
    names = list(next(iter(found[JUDGES[0].name].values())))
    for judge in JUDGES:
        table = Table("comparisons", *names, title=f"{judge.name}: violated, %, {90 * fleets:,} cells")
        for amount, row in found[judge.name].items():
            table.add_row(amount, *(f"{value:.1f}" for value in row.values()))
        Console(width=120).print(table)
    aims = [
        Aim.at_most(limit, f"{judge.name}: violated {kind}", worst(found[judge.name], kind), 1, " %")
        for judge in BARRED
        for kind, limit in LIMITS_PERCENT.items()
    ]
    conclude({"fleets": fleets, "judges": found}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
