"""`make bench` runs what the README says it runs: each command behind a figure, and none that it does not name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Measured\n")[2].partition("\n## ")[0]
BENCH = re.search(r"^bench:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
RUN = [tuple(line.split()) for line in re.findall(r"python -m evaluation\.(.+)", BENCH[1] if BENCH else "")]


def behind_figures() -> list[tuple[str, ...]]:
    """Each command in bold, and its further forms in the same paragraph, as in `… speed`."""
    found: list[tuple[str, ...]] = []
    for command, paragraph in re.findall(
        r"^\*\*`python -m evaluation\.([^`]+)`\*\*(.*?)(?=^\*\*`|\Z)", MEASURED, re.MULTILINE | re.DOTALL
    ):
        module, *_ = words = command.split()
        found.append(tuple(words))
        found += [(module, *more.split()) for more in re.findall(r"`… ([^`]+)`", paragraph)]
    return found


def test_every_command_behind_a_figure_is_run() -> None:
    assert len(behind_figures()) > 10
    for module, *arguments in behind_figures():
        assert any(line[0] == module and {*arguments} <= {*line[1:]} for line in RUN), (module, *arguments)


def test_every_command_that_is_run_is_named() -> None:
    opening = MEASURED.strip().partition("\n\n")[0]
    beside = set(re.findall(r"`(\w+)`", opening[opening.index("`make bench`") :].partition("besides")[0]))
    assert {line[0] for line in RUN} <= {command[0] for command in behind_figures()} | beside
    assert beside <= {line[0] for line in RUN}


def test_every_command_is_there() -> None:
    assert all(importlib.util.find_spec(f"evaluation.{line[0]}") for line in RUN)
