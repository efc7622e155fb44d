"""How often the regression gate finds a drop, and how often it alarms about none.

    python -m evaluation.gate.gate_power

Runs of the default size are drawn, and the gate's own `judge` judges them, with its further looks. The worlds
(`gate_worlds`):

    churn 4 %, …     two answers to one item differ this often by chance; items come from a Beta distribution
    templates        the same, but ten items share a template, and their answers go wrong together
    recorded         if the file of --outcomes exists: real answers of one 405B model at three providers. An item's
                     share of right answers is its probability. `switched` takes one provider's answers as the baseline
                     and another's as the run, so that answers change for good. `… to …` is a real, weaker model

A drop is planted as `slips` (any right answer may turn wrong) or `breaks` (some items are never right again). The
baseline rests on one, three or five good runs. "answers" is how many a run took per item: 1 unless the gate was unsure.

The bar: 95 % of the runs with a drop of 5 points alarm, and 1 % of those without.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.gate.gate_worlds import CATEGORIES, WORLDS, Drop, Floats, World, recorded
from evaluation.shared.data import ANSWERS
from evaluation.shared.results import Save, save
from slo_bench.gate.ruling import LOOKS, Case, GatePolicy, judge
from slo_router.contract.intervals import wilson

DROPS = (Drop(0.0), Drop(0.02), Drop(0.05), Drop(0.05, "breaks"), Drop(0.10))
ENOUGH, TOO_MANY = 0.95, 0.01


class Task(NamedTuple):
    """One row of the table: `items` in each category, `nights` good runs in the baseline, `runs` repetitions."""

    world: World
    drop: Drop
    nights: int
    items: int
    runs: int


class Found(NamedTuple):
    """How many of the runs alarmed, and the mean number of answers per item."""

    task: Task
    alarms: int
    answers: float


def study(task: Task) -> Found:
    """Draws all runs of a row."""
    rng = np.random.default_rng([task.nights, round(task.drop.size * 100), len(task.world.name), task.items])
    outcomes = [one_run(task, rng) for _ in range(task.runs)]
    return Found(task, sum(alarm for alarm, _ in outcomes), sum(answers for _, answers in outcomes) / task.runs)


def one_run(task: Task, rng: np.random.Generator) -> tuple[bool, float]:
    """Whether the gate alarmed, and the answers per item that it took."""
    was, now = task.world.suite(rng, task.items, task.drop)
    before = [scored(task.world.answers(rng, right, task.nights)) for right in was]
    totals, counts, asked = [np.zeros_like(right) for right in now], [0] * CATEGORIES, list(range(CATEGORIES))
    for look in range(1, LOOKS + 1):
        for place in asked:
            totals[place] += task.world.answers(rng, now[place], 1)
            counts[place] += 1
        cases = {str(place): Case(before[place], scored(totals[place] / counts[place])) for place in range(CATEGORIES)}
        rulings = judge(cases, GatePolicy(), look)
        asked = [int(name) for name, ruling in rulings.items() if ruling.judgement == "unsure"]
        if not asked:
            break
    return any(ruling.judgement == "regressed" for ruling in rulings.values()), sum(counts) / CATEGORIES


def scored(means: Floats) -> dict[str, float]:
    """The score of each item, by the item's number."""
    return {str(place): score for place, score in enumerate(means.tolist())}


def passes(found: Found) -> str:
    """Whether the row keeps the bar; empty if there is no bar for it."""
    share, drop = found.alarms / found.task.runs, found.task.drop
    if found.task.world.has_own_drop or drop.size not in {0.0, 0.05}:
        return ""
    return "yes" if (share >= ENOUGH if drop.size else share <= TOO_MANY) else "NO"


def show(results: Sequence[Found]) -> Table:
    """One line per row."""
    first = results[0].task
    title = f"{CATEGORIES} × {first.items} items, {first.runs} runs a row"
    table = Table("world", "drop", title=title, title_justify="left")
    for name in ("baseline runs", "alarms", "95 % interval", "answers", "bar"):
        table.add_column(name, justify="right")
    for found in results:
        task, sure = found.task, wilson(found.alarms, found.task.runs)
        planted = f"{task.drop.size * 100:g} {task.drop.how}" if task.drop.size else "none"
        drop = "its own" if task.world.has_own_drop else planted
        share = f"{found.alarms / task.runs:.1%}", f"{sure.low:.1%} to {sure.high:.1%}"
        table.add_row(task.world.name, drop, str(task.nights), *share, f"{found.answers:.2f}", passes(found))
    return table


def figures(results: Sequence[Found]) -> dict[str, object]:
    """For docs/evidence.md: the rows."""
    rows = [
        {
            "world": found.task.world.name,
            "drop_points": None if found.task.world.has_own_drop else 100 * found.task.drop.size,
            "how": found.task.drop.how,
            "good_runs": found.task.nights,
            "alarms_percent": 100 * found.alarms / found.task.runs,
            "answers_per_item": found.answers,
        }
        for found in results
    ]
    return {"categories": CATEGORIES, "items": results[0].task.items, "runs": results[0].task.runs, "rows": rows}


def main(
    *,
    runs: Annotated[int, typer.Option(help="For each row.", min=1)] = 1_000,
    items: Annotated[int, typer.Option(help="In each of the three categories.", min=1)] = 200,
    nights: Annotated[list[int], typer.Option(help="Good runs in the baseline; may be repeated.")] = [1, 3, 5],  # noqa: B006
    outcomes: Annotated[Path, typer.Option(help="Recorded answers: category and score::MODEL.")] = ANSWERS,
    is_saved: Save = False,
) -> None:
    """How often the regression gate finds a drop, and how often it alarms about none."""
    worlds = [*WORLDS, *(recorded(outcomes) if outcomes.exists() else ())]
    tasks = [
        Task(world, drop, good_runs, items, runs)
        for world, drop, good_runs in product(worlds, DROPS, nights)
        if not (world.has_own_drop and drop.size)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(track(pool.map(study, tasks), "drawing", len(tasks), console=Console(stderr=True)))
    Console(width=120).print(show(results))
    if is_saved:
        save(figures(results))


if __name__ == "__main__":
    typer.run(main)
