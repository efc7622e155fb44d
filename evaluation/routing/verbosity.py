"""How unlike models are in the length of their answers: where the simulator's and the face-off's verbosities are from.

    python -m evaluation.routing.verbosity [--data FILE] [--reference MODEL]

FILE is a table of recorded answers to the same prompts, with a column `outtok::MODEL` of tokens for each model. The
factor is the sum of a model's tokens over that of the reference's, on the prompts that both answered; the spread is the
standard deviation of the logarithm of single prompts' ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.table import Table

from evaluation.shared.data import ANSWERS

REFERENCE = "gemma-2-27b-it"
COLUMN = "outtok::"


class Verbosity(NamedTuple):
    """One model's, beside the reference's."""

    factor: float
    spread: float
    prompts: int


def verbosity(tokens: Iterable[float | None], reference: Iterable[float | None]) -> Verbosity | None:
    """Of two models' answers to the same prompts, `None` where they share none."""
    pairs = [(own, other) for own, other in zip(tokens, reference, strict=True) if _is_known(own) and _is_known(other)]
    if not pairs:
        return None
    factor = sum(own for own, _ in pairs) / sum(other for _, other in pairs)  # type: ignore[misc]  # known
    return Verbosity(factor, statistics.pstdev(math.log(own / other) for own, other in pairs), len(pairs))  # type: ignore[operator]


def _is_known(tokens: float | None) -> bool:
    return tokens is not None and tokens > 0  # NaN is not


def main(
    data: Annotated[Path, typer.Option(help="The table.", exists=True, dir_okay=False)] = ANSWERS,
    reference: Annotated[str, typer.Option(help="The model of factor 1.")] = REFERENCE,
) -> None:
    """The factor and the spread of every model in the table, the most verbose first."""
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
    Console(width=100).print(shown)


if __name__ == "__main__":
    typer.run(main)
