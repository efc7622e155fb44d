"""Proves that a change changed nothing that anybody sees: record before it, record after it, compare.

    python -m evaluation.unchanged record before/
    …
    python -m evaluation.unchanged record after/ && python -m evaluation.unchanged compare before/ after/

Recorded are 10,000 decisions in random worlds and what is decided of their records, the simulator's digits in three
scenarios with two seeds, `--help` of every command, the reference of the YAML, every metric, the record's schema, every
header and every key in Redis. `compare` prints the first lines that differ, and ends with 1 where there are any.
"""

from __future__ import annotations

import difflib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from evaluation.simulator.study import Task, study
from evaluation.unchanged import surface
from evaluation.unchanged.decisions import decisions

DECISIONS = 10_000
SCENARIOS, SEEDS = ("steady", "hang", "mixed"), (0, 1)
SHOWN = 20  # lines of a difference that are printed

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(file_okay=False)]


@app.command()
def record(folder: Folder) -> None:
    """Writes what is to stay the same into FOLDER; some ten minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in track(PARTS.items(), "recording", console=Console(stderr=True)):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(made())


@app.command()
def compare(before: Folder, after: Folder) -> None:
    """Compares two recordings."""
    unlike = [name for name in PARTS if not _is_alike(name, before / name, after / name)]
    print(f"{', '.join(unlike)} differ" if unlike else f"all {len(PARTS)} parts are the same")
    sys.exit(bool(unlike))


def _is_alike(name: str, before: Path, after: Path) -> bool:
    old, new = (place.read_text(encoding="utf-8").splitlines() for place in (before, after))
    if old == new:
        return True
    print("\n".join(itertools.islice(difflib.unified_diff(old, new, f"before/{name}", f"after/{name}", n=0), SHOWN)))
    return False


def _decisions() -> Iterator[str]:
    return (f"{line}\n" for line in decisions(DECISIONS))


def _simulator() -> Iterator[str]:
    for name, seed in itertools.product(SCENARIOS, SEEDS):
        found = study(Task(name, seed, None)).tallies
        yield f"{json.dumps({'scenario': name, 'seed': seed, 'tallies': found}, sort_keys=True)}\n"


PARTS: dict[str, Callable[[], Iterator[str] | str]] = {
    "help.txt": surface.helps,
    "settings.md": surface.settings,
    "metrics.txt": surface.metrics,
    "record.json": surface.record,
    "names.txt": surface.names,
    "decisions.jsonl": _decisions,
    "simulator.jsonl": _simulator,
}

if __name__ == "__main__":
    app()
