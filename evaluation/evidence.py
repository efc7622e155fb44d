"""Writes docs/evidence.md from what the studies saved and from the words in `evidence.md.jinja`.

    python -m evaluation.evidence            writes the page
    python -m evaluation.evidence --check    exits with 1 if the page differs

The template holds only words. Every figure on the page comes from evaluation/results or from the code of a study.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import jinja2
import typer

from evaluation.shared import traffic
from evaluation.shared.results import FOLDER, ROOT, Run, Spread, load, number

PAGE = ROOT / "docs" / "evidence.md"
TEMPLATE = Path(__file__).with_name("evidence.md.jinja")
Results = Mapping[str, list[Run]]


def main(*, is_check: Annotated[bool, typer.Option("--check", help="Write nothing; compare.")] = False) -> None:
    """Writes docs/evidence.md from the studies' saved results."""
    made = render()
    if not is_check:
        PAGE.write_text(made, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != made:
        print("docs/evidence.md is not what the saved results say, run: python -m evaluation.evidence", file=sys.stderr)
        raise typer.Exit(1)


def render(folder: Path = FOLDER) -> str:
    """The page."""
    results = {path.stem: load(path) for path in sorted(folder.glob("*.json"))}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Markdown of our own words and numbers
    )
    environment.filters |= {"spread": spread, "pm": plus_minus, "num": number, "ends": ends, "measured": measured}
    environment.filters |= {"values": dict.values, "combine": dict.__or__}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        runs=lambda study, form="": [run for run in results[study] if run["form"] == form],
        missed=missed(results),
        traffic=traffic,
    )
    return "\n\n".join(map(wrapped, re.split(r"\n{2,}", page.strip()))) + "\n"


def wrapped(block: str) -> str:
    """A paragraph or a list in lines of the usual length; tables, headings and pictures stay as they are."""
    if block.startswith(("|", "#", "!")):
        return block
    is_list = block.startswith("- ")
    block = block.replace(" %", "\u00a0%")  # number and % stay on one line
    parts = re.split(r"\n(?=- )", block) if is_list else [block]
    filled = (
        textwrap.fill(part, 120, subsequent_indent="  " * is_list, break_long_words=False, break_on_hyphens=False)
        for part in parts
    )
    return "\n".join(filled).replace("\u00a0", " ")


def missed(results: Results) -> dict[str, list[str]]:
    """Each aim that a study missed, in words."""
    found = {
        study: [aim["text"] for run in runs for aim in run["aims"] if not aim["is_kept"]]
        for study, runs in results.items()
    }
    return {study: texts for study, texts in found.items() if texts}


def spread(figure: Mapping[str, float], digits: int = 0, unit: str = "") -> str:
    """A figure with its lowest and highest repeat, as in `1.08 × (0.99–1.12)`."""
    return Spread(**figure).text(digits, unit)


def plus_minus(figure: Mapping[str, float], digits: int = 1) -> str:
    """A figure with half of its confidence interval, where that is known."""
    half = figure.get("half_width")
    return number(figure["value"], digits) + ("" if half is None else f" ± {number(half, digits)}")


def ends(values: Iterable[float], digits: int = 0) -> str:
    """The lowest and the highest of some values, as in `0.57 to 0.87`; only one if both round to the same."""
    found = list(values)
    low, high = number(min(found), digits), number(max(found), digits)
    return low if low == high else f"{low} to {high}"


def measured(run: Run) -> str:
    """LiteLLM's version, the date and the commit of a run."""
    return f"{run['litellm']}, {run['date']}, `{run['commit']}`"


if __name__ == "__main__":
    typer.run(main)
