"""The regression gate over many nights.

    python -m evaluation.gate.gate_nights

`gate_power` looks at one run. Here deployments are measured night by night, and the gate keeps their history in a real
Valkey. The gate's verdict on one night decides what the next night is compared with. How often does it alarm in
unchanged nights? How soon does it find a step, and how much quality has a slow decline cost by then? Answers are drawn
as in `gate_worlds`: 3 × 200 items, of which 8 % are answered differently the next time.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, quantiles
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from evaluation.gate.gate_worlds import CATEGORIES, Drop, Floats, drawn
from evaluation.shared.valkey_server import ValkeyServer
from slo_bench.gate.entry import QUALITY, Entry
from slo_bench.gate.gatekeeper import conclude, review
from slo_bench.gate.ruling import GatePolicy
from slo_router.contract.redis.link import AsyncClient, connect

NIGHTS, BREAK = 30, 10  # the change comes after ten good nights
ITEMS = 200
WORLD = drawn("churn 8 %", 0.8, 0.08)
COURSES: dict[str, Callable[[int], float]] = {
    "unchanged": lambda _: 0.0,
    "step of 2 points": lambda _: 0.02,
    "step of 5 points": lambda _: 0.05,
    "1 point more a night": lambda after: 0.01 * after,
    "1 point more a week": lambda after: 0.01 / 7 * after,
}


class Course(NamedTuple):
    """One deployment: the number of false alarms before the break, and the first night after it with an alarm."""

    false_alarms: int
    found: int | None


async def follow(link: AsyncClient, prefix: str, lost: Callable[[int], float], rng: np.random.Generator) -> Course:
    """Follows one deployment from its first night on."""
    right, _ = WORLD.suite(rng, ITEMS, Drop(0.0))
    alarms = []
    for night in range(1, NIGHTS + 1):
        drop = Drop(lost(night - BREAK) if night > BREAK else 0.0)
        now = [drop.spoil(rng, each) if drop.size else each for each in right]
        run = [asked(now[place], place, night, rng) for place in range(CATEGORIES)]

        async def again(categories: Sequence[str], now: list[Floats] = now, night: int = night) -> list[Entry]:
            return [asked(now[int(name)], int(name), night, rng) for name in categories]

        found = await review(link, prefix, run, GatePolicy(), again)
        await conclude(link, prefix, found)
        if found.alerts:
            alarms.append(night)
    after = [night for night in alarms if night > BREAK]
    return Course(sum(night <= BREAK for night in alarms), after[0] - BREAK if after else None)


def asked(right: Floats, place: int, night: int, rng: np.random.Generator) -> Entry:
    """One answer to each item of a category."""
    scores = {str(item): score for item, score in enumerate(WORLD.answers(rng, right, 1).tolist())}
    figures = {QUALITY: fmean(scores.values())}
    return Entry("quality", night, "smart", "m", str(place), len(scores), figures, "suite", "", scores)


def row(name: str, courses: Sequence[Course]) -> tuple[str, ...]:
    """One row of the table."""
    lost, found = COURSES[name], sorted(one.found for one in courses if one.found is not None)
    early = sum(one.false_alarms for one in courses) / (len(courses) * BREAK)
    if len(found) < 2:
        return name, f"{early:.2%}", f"{len(found)} of {len(courses)}", "", "", ""
    tenths = quantiles(found, n=10, method="inclusive")
    costs = f"{lost(round(tenths[4])) * 100:.1f}" if name != "unchanged" else ""
    return name, f"{early:.2%}", f"{len(found)} of {len(courses)}", f"{tenths[4]:.0f}", f"{tenths[8]:.0f}", costs


async def study(url: str, runs: int) -> Table:
    """The table of all courses, with `runs` deployments each."""
    title = f"{runs} deployments each, {NIGHTS} nights, the change after night {BREAK}"
    table = Table("course", title=title, title_justify="left")
    for column in ("false alarms before", "alarm after", "night: median", "9 of 10 by", "points lost by the median"):
        table.add_column(column, justify="right")
    link = connect(url)
    try:
        for name, lost in COURSES.items():
            rng = np.random.default_rng(list(name.encode()))
            table.add_row(*row(name, [await follow(link, f"{name} {i}:", lost, rng) for i in range(runs)]))
            await link.flushdb()
    finally:
        await link.aclose()
    return table


def main(runs: Annotated[int, typer.Option(help="Deployments for each course.", min=2)] = 200) -> None:
    """How often the regression gate alarms over many nights, and how soon."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder), options={"appendonly": "no"}) as server:
        url = f"{server.url}?socket_timeout=60"  # long, for a busy machine
        Console(width=120).print(asyncio.run(study(url, runs)))


if __name__ == "__main__":
    typer.run(main)
