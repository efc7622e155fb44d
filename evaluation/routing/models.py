"""How unlike models are in the length of their answers, and how much of the traffic needs which of them.

    python -m evaluation.routing.models [--data FILE] [--reference MODEL]

This study is the source of the verbosities of the simulator and the face-off, and of the shares of the face-off's
`KINDS`. FILE is a table of recorded answers to the same prompts. Its columns are `outtok::MODEL`, the tokens, and
`score::MODEL`, 1 if the answer was right. The factor is the sum of a model's tokens ÷ the reference's, on the prompts
that both answered. The spread is the standard deviation of the logarithm of single prompts' ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from evaluation.shared.data import ANSWERS

REFERENCE = "gemma-2-27b-it"
COLUMN = "outtok::"
TIERS = ("Meta-Llama-3.1-8B-Instruct", "gemma-2-27b-it", "claude-3-5-sonnet-20241022")
RIGHT = 0.5


class Verbosity(NamedTuple):
    """One model's verbosity, beside the reference's."""

    factor: float
    spread: float
    prompts: int


def verbosity(tokens: Iterable[float | None], reference: Iterable[float | None]) -> Verbosity | None:
    """The verbosity by two models' answers to the same prompts; `None` if they share no prompt."""
    pairs = [(own, other) for own, other in zip(tokens, reference, strict=True) if _is_known(own) and _is_known(other)]
    if not pairs:
        return None
    factor = sum(own for own, _ in pairs) / sum(other for _, other in pairs)  # type: ignore[misc]  # known
    return Verbosity(factor, statistics.pstdev(math.log(own / other) for own, other in pairs), len(pairs))  # type: ignore[operator]


def first_right(scores: Sequence[Sequence[float | None]]) -> list[int]:
    """For how many prompts each model is the smallest that answers right. `scores` has the smallest model first."""
    found = [0] * len(scores[0])
    for row in scores:
        right = [score is not None and score >= RIGHT for score in row]
        if any(right):
            found[right.index(True)] += 1
    return found


def _is_known(tokens: float | None) -> bool:
    return tokens is not None and tokens > 0  # NaN is not


def main(
    data: Annotated[Path, typer.Option(help="The table.", exists=True, dir_okay=False)] = ANSWERS,
    reference: Annotated[str, typer.Option(help="The model of factor 1.")] = REFERENCE,
) -> None:
    """Every model's verbosity, the most verbose first, and who is the smallest to answer how many prompts right."""
    table = pq.read_table(data)
    names = [name.removeprefix(COLUMN) for name in table.column_names if name.startswith(COLUMN)]
    if reference not in names:
        raise typer.BadParameter(f"{reference!r}, expected one of {', '.join(names)}", param_hint="--reference")
    base = table[COLUMN + reference].to_pylist()
    found = {name: verbosity(table[COLUMN + name].to_pylist(), base) for name in names}
    shown = Table("model", f"tokens ÷ {reference}'s", "spread", "prompts")
    for name, one in sorted(found.items(), key=lambda item: -(item[1].factor if item[1] else 0)):
        if one is not None:
            shown.add_row(name, f"{one.factor:.2f}", f"{one.spread:.2f}", f"{one.prompts:,}")
    console = Console(width=100, highlight=False)
    console.print(shown)
    scores = [table[f"score::{model}"].to_pylist() for model in TIERS]
    counts = first_right(list(zip(*scores, strict=True)))
    for model, count in zip(TIERS, counts, strict=True):
        console.print(f"{count / sum(counts):6.1%}  of the prompts need {model} ({count:,})")
    console.print(f"{table.num_rows - sum(counts):,} of {table.num_rows:,} prompts were answered right by none")


if __name__ == "__main__":
    typer.run(main)
