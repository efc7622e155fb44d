"""How well the answer checks tell a broken deployment from a working one, on what a real model answered.

    python -m evaluation.answer_checks

Each variant of the model stands beside two intact ones, as three deployments in one run. A cell is ten of its answers;
what is printed is the chance that a random cell is condemned: a false alarm where the variant is intact, a detection
where it is not. How many of ten must fail is chosen on one half of the prompts, and tried on the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import comb
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from slo_bench.checks.answer import Answer
from slo_bench.checks.cells import judged_together
from slo_bench.checks.verdict import Verdict
from slo_bench.quality.intervals import wilson

from .real_answers import RECORDED, VARIANTS, Half, RealAnswer, read_answers, read_prompts

CELL = 10  # answers, the default of `slo-bench run`
HALVES: tuple[Half, Half] = ("choose", "try")
FALSE_ALARMS = 0.01  # at most, of the worst intact variant

Rows = dict[str, list[RealAnswer]]


class Counted(NamedTuple):
    """What the checks found in all answers of one variant."""

    checked: int
    failed: int
    faults: Counter[str]

    def condemned(self, needed: int) -> float:
        """The chance that of a cell's answers, drawn from these, so many or more fail."""
        size = min(CELL, self.checked)
        ways = (comb(self.failed, k) * comb(self.checked - self.failed, size - k) for k in range(needed, size + 1))
        return sum(ways) / comb(self.checked, size)


def count(name: str, rows: Rows) -> Counted:
    """Judges one variant beside two intact ones, each category by itself."""
    texts = {prompt.id: prompt.text for prompt in read_prompts()}
    others = [one.name for one in VARIANTS if one.is_sound and one.name in rows and one.name != name][:2]
    answers: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for deployment in (*others, name):
        for row in rows[deployment]:
            answers[deployment, row.category].append(Answer(row.text, row.finish_reason, texts[row.id]))
    mine = [verdict for (deployment, _), verdict in judged_together(answers).items() if deployment == name]
    faults: Counter[str] = Counter()
    for verdict in mine:
        faults.update(verdict.faults)
    return Counted(sum(one.checked for one in mine), sum(one.failed for one in mine), faults)


def by_half(answers: list[RealAnswer]) -> dict[Half, dict[str, Counted]]:
    """Everything, counted."""
    found: dict[Half, dict[str, Counted]] = {}
    for half in HALVES:
        rows: Rows = defaultdict(list)
        for answer in answers:
            if answer.half == half:
                rows[answer.variant].append(answer)
        found[half] = {one.name: count(one.name, rows) for one in VARIANTS if one.name in rows}
    return found


def threshold_table(counted: dict[str, Counted]) -> tuple[Table, int]:
    """By how many of ten must fail: the worst false alarm and the detections. Also the fewest that are safe."""
    sound = {one.name for one in VARIANTS if one.is_sound} & set(counted)
    table = Table(
        "of ten must fail", "worst false alarm", "detected, mean", "detected, worst", title="Chosen on one half"
    )
    safe: list[int] = []
    for needed in range(1, 8):
        alarms = max(counted[name].condemned(needed) for name in sound)
        found = [one.condemned(needed) for name, one in counted.items() if name not in sound]
        if alarms <= FALSE_ALARMS:
            safe.append(needed)
        table.add_row(str(needed), f"{alarms:.1%}", f"{sum(found) / len(found):.0%}", f"{min(found):.0%}")
    return table, min(safe)


def variant_table(counted: dict[str, Counted], needed: int, title: str) -> Table:
    """One line per variant."""
    table = Table("variant", "is", "odd", "share, 95 %", "most often", "condemned", title=title)
    for one in VARIANTS:
        if one.name in counted:
            found = counted[one.name]
            low, high = wilson(found.failed, found.checked)
            often = ", ".join(f"{name} {times}" for name, times in found.faults.most_common(3))
            share = f"{found.failed / found.checked:.0%} ({low:.0%} to {high:.0%})"
            state = "intact" if one.is_sound else "broken"
            odd = f"{found.failed}/{found.checked}"
            table.add_row(one.name, state, odd, share, often, f"{found.condemned(needed):.1%}")
    return table


def main(
    answers: Annotated[Path, typer.Option(help="Recorded by evaluation.real_answers.")] = RECORDED,
) -> None:
    """False alarms and detections of the answer checks."""
    console = Console(width=140)
    found = by_half(read_answers(answers))
    table, safe = threshold_table(found["choose"])
    used = min(k for k in range(CELL + 1) if Verdict(CELL, k).is_faulty)
    console.print(table)
    console.print(f"{safe} of ten keep false alarms at {FALSE_ALARMS:.0%}; the checks ask for {used}")
    for half in HALVES:
        console.print(variant_table(found[half], used, f"{used} of ten, the half to {half}"))


if __name__ == "__main__":
    typer.run(main)
