"""Reads prompts to learn from, each with its category where somebody named it.

    JSONL         an object in each line: `category`, and `messages`, `prompt` or `text`
    CSV, Parquet  columns `category`, and `prompt` or `text`; a table of outcomes is one
    YAML          the proxy's: the examples of each category of its groups

Request records with `log_prompts` are such lines. The category of a record counts only if the client or a rule named
it: what a categorizer guessed teaches nothing. `Computer science` becomes `computer-science`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from slo_router.contract.settings.config import load_settings
from slo_router.contract.settings.tasks.classifier import MOST_CATEGORIES, is_name
from slo_router.errors import SettingsError
from slo_router.operator.evaluating.table import read_columns
from slo_router.request.categories import Instruction, instruction_windows

MOST_PROMPTS = 200_000
_TEXTS = ("messages", "prompt", "text")
_SAID_BY = ("client", "rule")


class Prompt(NamedTuple):
    """The part of a prompt that is looked at, and its category, empty where nobody named it."""

    windows: Instruction
    category: str


def read_prompts(path: Path, group: str | None = None) -> list[Prompt]:
    """Each prompt once, the first `MOST_PROMPTS`. `group`: only this group's examples or records.

    Raises SettingsError naming the line, the field and what was expected.
    """
    if path.suffix in (".yaml", ".yml"):
        rows = _examples(path, group)
    else:
        rows = _lines(path) if path.suffix in (".jsonl", ".json", ".ndjson") else _columns(path)
    found: dict[Instruction, Prompt] = {}
    for where, row in rows:
        if group is not None and row.get("model_group", group) != group:
            continue
        prompt = _prompt(row, where)
        if prompt is not None:
            found.setdefault(prompt.windows, prompt)
        if len(found) == MOST_PROMPTS:
            break
    if not found:
        raise SettingsError(f"{path}: no prompt, expected some with {', '.join(_TEXTS)}")
    if len({one.category for one in found.values()}) > MOST_CATEGORIES:
        raise SettingsError(f"{path}: more than {MOST_CATEGORIES} categories, expected fewer")
    return list(found.values())


def _prompt(row: Mapping[str, object], where: str) -> Prompt | None:
    """The prompt of a row; `None` if a record did not keep it, or it has no text."""
    named = [name for name in _TEXTS if name in row]
    if not named:
        raise SettingsError(f"{where}: no prompt, expected one of {', '.join(_TEXTS)}")
    windows = instruction_windows(row[named[0]])
    if not any(windows):
        return None
    said = row.get("category")
    decision = row.get("decision")
    if isinstance(decision, Mapping) and decision.get("category_source") not in _SAID_BY:
        said = None
    category = "" if said is None else "-".join(str(said).lower().split())  # so that a header can name it
    if category and not is_name(category):
        raise SettingsError(f"{where}.category: {category!r}, expected a to z, 0 to 9, _ . or -, up to 64")
    return Prompt(windows, category)


def _examples(path: Path, group: str | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name, settings in load_settings(path).plugin.groups.items():
        for category, own in settings.categories.items() if group in (None, name) else ():
            for text in own.examples:
                yield name, {"text": text, "category": category}


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                try:
                    row = msgspec.json.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise SettingsError(f"{path}:{number}: {error}, expected a JSON object in each line") from None
                if not isinstance(row, dict):
                    raise SettingsError(f"{path}:{number}: {type(row).__name__}, expected a JSON object in each line")
                yield f"{path}:{number}", row
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, expected JSONL, CSV, Parquet or the proxy's YAML") from error


def _columns(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    columns = read_columns(path)
    kept = [name for name in ("category", "model_group", *_TEXTS) if name in columns]
    for number, values in enumerate(zip(*(columns[name] for name in kept), strict=True), 1):
        yield f"{path}: row {number}", dict(zip(kept, values, strict=True))
