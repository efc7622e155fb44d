"""What studies find, how they judge it, and where they save it. `docs/evidence.md` is written from the saved results.

    evaluation/results/STUDY.json    a list of runs, one for each form of the study and each version of LiteLLM

A run holds its command, date, commit, versions and machine, with its figures and its aims. A new run replaces the run
of the same form and LiteLLM. `saved_by` is `hand` if a person copied the figures from an earlier page.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "evaluation" / "results"
OPTION = "--save"
Save = Annotated[bool, typer.Option(OPTION, help="Save the figures in evaluation/results, for docs/evidence.md.")]
Run = dict[str, Any]  # as JSON: each study has figures of its own


def number(value: float, digits: int = 0) -> str:
    """The number with separated thousands and a real minus sign."""
    return f"{value:,.{digits}f}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure with the lowest and the highest of its repeats."""

    value: float
    lowest: float
    highest: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """The median, lowest and highest of at least one repeat."""
        found = list(values)
        return Spread(statistics.median(found), min(found), max(found))

    def text(self, digits: int = 0, unit: str = "") -> str:
        """`1.08 × (0.99–1.12)`, or the value alone if all repeats round to it."""
        value, lowest, highest = (number(one, digits) for one in (self.value, self.lowest, self.highest))
        between = " to " if self.lowest < 0 else "–"
        return f"{value}{unit}" if lowest == highest == value else f"{value}{unit} ({lowest}{between}{highest})"


@dataclass(frozen=True, slots=True)
class Aim:
    """What the project wants of a figure, in words that contain the figure, and whether that is kept."""

    text: str
    is_kept: bool

    @staticmethod
    def at_most(limit: float, what: str, found: float, digits: int = 2, unit: str = "") -> Aim:
        """The figure may be `limit` or less."""
        return Aim(f"{what} {number(found, digits)}{unit}, at most {limit:g}{unit}", found <= limit)

    def __str__(self) -> str:
        return f"{'kept  ' if self.is_kept else 'MISSED'}  {self.text}"


def conclude(figures: Mapping[str, object], aims: Iterable[Aim] = (), *, form: str = "", is_saved: bool) -> bool:
    """Prints each aim and whether it is kept, and saves the run if `is_saved`. Returns whether all aims are kept."""
    aims = list(aims)
    for aim in aims:
        print(aim)
    if is_saved:
        save(figures, aims, form=form)
    return all(aim.is_kept for aim in aims)


def save(figures: Mapping[str, object], aims: Iterable[Aim] = (), *, form: str = "") -> None:
    """Saves the figures and aims of the running program. `form` distinguishes runs that the page shows together."""
    spec = sys.modules["__main__"].__spec__
    study = (spec.name if spec else "").removeprefix("evaluation.").removesuffix(".__main__")
    words = [word for word in sys.argv[1:] if word != OPTION]
    run = {
        "command": shlex.join(["python", "-m", f"evaluation.{study}", *words]),
        "form": form,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
        "litellm": version("litellm"),
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores",
        "saved_by": "the study",
        "figures": figures,
        "aims": list(aims),
    }
    path = FOLDER / f"{study}.json"
    runs = {_key(one): one for one in load(path)} | {_key(run): run}
    write(path, list(runs.values()))


def _commit() -> str:
    """The commit of the code, `-dirty` if a .py file was changed. Results that other studies saved do not count."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    is_changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "*.py"], cwd=ROOT, check=False).returncode
    return f"{commit}-dirty" if is_changed else commit


def _key(run: Mapping[str, object]) -> tuple[object, object]:
    return run["form"], run["litellm"]


def load(path: Path) -> list[Run]:
    """The runs of a study, in the order in which they were first saved; none if there is no file."""
    runs: list[Run] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return runs


def write(path: Path, runs: Iterable[Mapping[str, object]]) -> None:
    """Writes the runs as JSON. Numbers keep six digits."""
    text = json.dumps(list(runs), default=asdict)
    short = json.loads(text, parse_float=lambda number: float(f"{float(number):.6g}"))
    path.write_text(json.dumps(short, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
