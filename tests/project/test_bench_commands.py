"""`make bench` runs each command behind a figure of docs/evidence.md, and no other command."""

from __future__ import annotations

import importlib.util
import re

from evaluation.__main__ import studies
from tests.shared.repository import ROOT

MEASURED = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").partition("# Evidence\n")[2]
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


def name(command: tuple[str, ...]) -> str:
    """The name of a study, without its folder."""
    return command[0].rpartition(".")[2]


def test_every_command_behind_a_figure_is_run() -> None:
    assert len(behind_figures()) > 10
    for module, *arguments in behind_figures():
        assert any(line[0] == module and {*arguments} <= {*line[1:]} for line in RUN), (module, *arguments)


def test_every_command_that_is_run_is_named() -> None:
    opening = MEASURED.strip().partition("\n\n")[0]
    beside = set(re.findall(r"`(\w+)`", opening[opening.index("`make bench`") :].partition("besides")[0]))
    assert {name(line) for line in RUN} <= {name(command) for command in behind_figures()} | beside
    assert beside <= {name(line) for line in RUN}


def test_every_command_is_there() -> None:
    assert all(importlib.util.find_spec(f"evaluation.{line[0]}") for line in RUN)


def test_list_of_studies_has_every_command_and_its_line() -> None:
    listed = dict(studies())
    assert {f"evaluation.{line[0]}" for line in RUN} <= listed.keys()
    assert all(importlib.util.find_spec(name) and line.endswith((".", "?")) for name, line in listed.items())
