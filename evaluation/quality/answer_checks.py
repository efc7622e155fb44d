"""How well the answer checks tell a broken deployment from a working one, on what a real model answered.

    python -m evaluation.quality.answer_checks

Each variant of the model is judged beside two intact variants, as three deployments in one run. A cell is ten answers.
Each answer fails with the probability of the variant's share (binomial). The study prints the chance that a cell is
condemned: a false alarm if the variant is intact, a detection if it is broken. In brackets is the chance at the less
favourable end of the share's interval. One half of the prompts chooses how many of ten must fail, the other tests it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import comb
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from evaluation.quality.real_answers import RECORDED, VARIANTS, Half, RealAnswer, read_answers, read_prompts
from slo_bench.checks.answer import Answer
from slo_bench.checks.cells import judged_together
from slo_bench.checks.verdict import Verdict
from slo_router.contract.intervals import wilson

CELL = 10  # answers, the default of `slo-bench run`
HALVES: tuple[Half, Half] = ("choose", "try")
FALSE_ALARMS, WORST = 0.01, 0.05  # at most: of all intact variants together, of the worst one

Rows = dict[str, list[RealAnswer]]


class Counted(NamedTuple):
    """What the checks found in all answers of one variant."""

    checked: int
    failed: int
    faults: Counter[str]

    @property
    def share(self) -> float:
        """The share of the checked answers that failed."""
        return self.failed / self.checked


def condemned(share: float, needed: int) -> float:
    """The chance that `needed` or more of a cell's answers fail."""
    return sum(comb(CELL, k) * share**k * (1 - share) ** (CELL - k) for k in range(needed, CELL + 1))


def count(name: str, rows: Rows) -> Counted:
    """Judges one variant beside two intact ones, each category separately."""
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
    """The counts of each variant, for each half of the prompts."""
    found: dict[Half, dict[str, Counted]] = {}
    for half in HALVES:
        rows: Rows = defaultdict(list)
        for answer in answers:
            if answer.half == half:
                rows[answer.variant].append(answer)
        found[half] = {one.name: count(one.name, rows) for one in VARIANTS if one.name in rows}
    return found


def threshold_table(counted: dict[str, Counted]) -> tuple[Table, int]:
    """False alarms and detections for each number of ten that must fail. Also returns the lowest safe number."""
    intact = [counted[one.name] for one in VARIANTS if one.is_sound and one.name in counted]
    broken = [counted[one.name] for one in VARIANTS if not one.is_sound and one.name in counted]
    share = sum(one.failed for one in intact) / sum(one.checked for one in intact)
    columns = ("of ten must fail", "false alarms", "of the worst variant", "broken ones found, mean")
    table, safe = Table(*columns, title="Chosen on one half"), list[int]()
    for needed in range(1, CELL + 1):
        alarms, worst = condemned(share, needed), max(condemned(one.share, needed) for one in intact)
        found = [condemned(one.share, needed) for one in broken]
        if alarms <= FALSE_ALARMS and worst <= WORST:
            safe.append(needed)
        table.add_row(str(needed), f"{alarms:.2%}", f"{worst:.1%}", f"{sum(found) / len(found):.0%}")
    return table, min(safe)


def variant_table(counted: dict[str, Counted], needed: int, title: str) -> Table:
    """One line per variant."""
    table = Table("variant", "is", "odd", "share, 95 %", "most often", "condemned", title=title)
    for one in VARIANTS:
        if one.name in counted:
            found = counted[one.name]
            low, high = wilson(found.failed, found.checked)
            often = ", ".join(f"{name} {times}" for name, times in found.faults.most_common(3))
            share = f"{found.share:.0%} ({low:.0%} to {high:.0%})"
            likely, doubtful = (condemned(at, needed) for at in (found.share, high if one.is_sound else low))
            state = "intact" if one.is_sound else "broken"
            odd = f"{found.failed}/{found.checked}"
            table.add_row(one.name, state, odd, share, often, f"{likely:.1%} ({doubtful:.0%})")
    return table


def main(
    answers: Annotated[Path, typer.Option(help="Recorded by evaluation.quality.real_answers.")] = RECORDED,
) -> None:
    """False alarms and detections of the answer checks."""
    console = Console(width=140)
    found = by_half(read_answers(answers))
    table, safe = threshold_table(found["choose"])
    used = min(k for k in range(CELL + 1) if Verdict(CELL, k).is_faulty)
    console.print(table)
    said = f"{safe} of ten keep false alarms at {FALSE_ALARMS:.0%}, those of the worst variant at {WORST:.0%}"
    console.print(f"{said}; the checks ask for {used}")
    for half in HALVES:
        console.print(variant_table(found[half], used, f"{used} of ten, the half to {half}"))


if __name__ == "__main__":
    typer.run(main)
