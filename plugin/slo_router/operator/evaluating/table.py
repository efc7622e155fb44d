"""A table of outcomes: prompts that several models answered, with score, output tokens and cost of each answer.

Columns: `prompt_id, source, dataset, category, prompt`, then for each model `score::M` (0..1), `outtok::M`, `cost::M`
(USD). A blank or NaN was not measured, and is never read as 0. A model that was measured on too few prompts is left
out. A prompt that one of the remaining models was not measured on is left out too, so that all routers see the same
prompts.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slo_router.errors import SettingsError

Floats = NDArray[np.float64]
Columns = Mapping[str, Sequence[object]]

FEWEST_PROMPTS = 30
CHARS_PER_TOKEN = 4.0  # of a prompt, where `--prices` prices it anew


class Choice(NamedTuple):
    """Which models count. Names may hold `*`; `least_measured` is a share of prompts; prices are USD per 1M tokens."""

    models: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    least_measured: float = 0.8
    prices: Mapping[str, tuple[float, float]] | None = None


EVERYTHING = Choice()


@dataclass(frozen=True, slots=True)
class Table:
    """Prompts that were measured on all models. `score`, `cost_usd`: a row for each prompt, a column for each model."""

    models: Sequence[str]
    prompts: Sequence[str]
    categories: Sequence[str] | None  # `None`: the table has none
    score: Floats
    cost_usd: Floats
    notes: Sequence[str]  # what was left out, and why

    @property
    def strongest(self) -> int:
        """The column of the model with the best mean score."""
        return int(np.argmax(self.score.mean(axis=0)))

    @property
    def cheapest(self) -> int:
        """The column of the model with the lowest mean cost."""
        return int(np.argmin(self.cost_usd.mean(axis=0)))


def read_table(path: Path, choice: Choice = EVERYTHING) -> Table:
    """Reads Parquet or CSV. Raises SettingsError naming what is missing, or where too little is left to compare."""
    columns = read_columns(path)
    if "prompt" not in columns:
        raise SettingsError(f"{path}: no column 'prompt', expected prompt_id, category, prompt, score::M, cost::M, …")
    return select(columns, choice, str(path))


def read_columns(path: Path) -> Columns:
    """All columns of a Parquet or CSV file. Raises SettingsError where it is neither."""
    return _parquet(path) if path.suffix == ".parquet" else _csv(path)


def select(columns: Columns, choice: Choice, name: str) -> Table:
    """The models and prompts that can be compared."""
    found, notes = [one.removeprefix("score::") for one in columns if one.startswith("score::")], []
    wanted = [one for one in found if _is_wanted(one, choice)]
    scores, costs = {}, {}
    reasons: dict[str, list[str]] = {}
    for model in wanted:
        score, cost = _floats(columns, f"score::{model}"), _costs(columns, model, choice)
        if cost is None:
            reasons.setdefault("their cost is unknown", []).append(model)
        elif np.isfinite(score + cost).mean() < choice.least_measured:
            reasons.setdefault(f"measured on less than {choice.least_measured:.0%} of the prompts", []).append(model)
        else:
            scores[model], costs[model] = score, cost
    notes += [f"left out, {why}: {', '.join(models)}" for why, models in reasons.items()]
    if len(scores) < 2:
        raise SettingsError(
            f"{name}: {len(scores)} models with scores and costs are left, expected two or more; {notes}"
        )
    score, cost = np.column_stack(list(scores.values())), np.column_stack(list(costs.values()))
    _check(score, cost, list(scores), name)
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(score + cost).all(axis=1))
    if whole.sum() < FEWEST_PROMPTS:
        raise SettingsError(f"{name}: {whole.sum()} prompts were measured on all models, expected {FEWEST_PROMPTS}")
    if not whole.all():
        notes.append(f"left out: {(~whole).sum():,} of {len(whole):,} prompts that some of the models lack")
    rows = np.flatnonzero(whole).tolist()
    categories = [str(columns["category"][i] or "") for i in rows] if "category" in columns else None
    if categories is not None and len(set(categories)) < 2:
        categories = None
    prompts = [str(columns["prompt"][i] or "") for i in rows]
    return Table(list(scores), prompts, categories, score[rows], cost[rows], notes)


def read_prices(path: Path) -> dict[str, tuple[float, float]]:
    """Reads a CSV with `model, usd_per_1m_in, usd_per_1m_out`. Raises SettingsError for a price that is no number."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                row["model"].strip(): (float(row["usd_per_1m_in"]), float(row["usd_per_1m_out"]))
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: {error!r}, expected columns model, usd_per_1m_in, usd_per_1m_out") from error


def _is_wanted(model: str, choice: Choice) -> bool:
    is_named = not choice.models or any(fnmatch(model, one) for one in choice.models)
    return is_named and not any(fnmatch(model, one) for one in choice.leave_out)


def _costs(columns: Columns, model: str, choice: Choice) -> Floats | None:
    """USD for each prompt; `None` where they are unknown."""
    if choice.prices is None:
        return _floats(columns, f"cost::{model}") if f"cost::{model}" in columns else None
    if model not in choice.prices or f"outtok::{model}" not in columns:
        return None
    tokens_in = np.array([len(str(prompt)) for prompt in columns["prompt"]]) / CHARS_PER_TOKEN
    usd_in, usd_out = choice.prices[model]
    return (tokens_in * usd_in + _floats(columns, f"outtok::{model}") * usd_out) / 1e6


def _check(score: Floats, cost: Floats, models: Sequence[str], name: str) -> None:
    for values, kind, most in ((score, "score", 1.0), (cost, "cost", np.inf)):
        wrong = np.argwhere((values < 0) | (values > most))
        if len(wrong):
            row, column = wrong[0]
            value, at = values[row, column], f"{name}: {kind}::{models[column]}, row {row + 1}"
            raise SettingsError(f"{at}: {value}, expected {'0 to 1' if kind == 'score' else 'USD, 0 or more'}")


def _floats(columns: Columns, name: str) -> Floats:
    try:
        values = [np.nan if one in (None, "") else float(one) for one in columns[name]]  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(f"{name}: {error}, expected numbers, or blanks where nothing was measured") from None
    return np.array(values, dtype=np.float64)


def _parquet(path: Path) -> Columns:
    try:
        import pyarrow.parquet  # noqa: PLC0415  # a CSV needs none of it
    except ModuleNotFoundError as error:
        raise SettingsError("pyarrow is not installed, expected litellm-slo-router[evaluate], or a CSV") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise SettingsError(f"{path}: {error}, expected a Parquet file") from error
    return {name: table[name].to_pylist() for name in table.column_names}


def _csv(path: Path) -> Columns:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path}: {error}, expected a CSV or Parquet file") from error
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
