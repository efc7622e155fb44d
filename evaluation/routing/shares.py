"""How much of the traffic needs which model: where the face-off's `KINDS` has its shares from.

    python -m evaluation.routing.shares --data FILE

FILE is a table of recorded answers with a column `score::MODEL` for each model, 1 where the answer was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from evaluation.shared.data import ANSWERS

MODELS = ("Meta-Llama-3.1-8B-Instruct", "gemma-2-27b-it", "claude-3-5-sonnet-20241022")
RIGHT = 0.5


def first_right(scores: Sequence[Sequence[float | None]]) -> list[int]:
    """Of prompts with the models' scores, smallest model first: how many each is the first to answer right."""
    found = [0] * len(scores[0])
    for row in scores:
        right = [score is not None and score >= RIGHT for score in row]
        if any(right):
            found[right.index(True)] += 1
    return found


def main(data: Annotated[Path, typer.Option(help="The table.", exists=True, dir_okay=False)] = ANSWERS) -> None:
    """The share of prompts that each model is the smallest to answer right, of those that any does."""
    table = pq.read_table(data, columns=[f"score::{model}" for model in MODELS])
    counts = first_right(list(zip(*(column.to_pylist() for column in table.columns), strict=True)))
    console = Console()
    for model, count in zip(MODELS, counts, strict=True):
        console.print(f"{count / sum(counts):6.1%}  {model} ({count:,} prompts)", highlight=False)
    console.print(f"{table.num_rows - sum(counts):,} of {table.num_rows:,} prompts were answered right by none")


if __name__ == "__main__":
    typer.run(main)
