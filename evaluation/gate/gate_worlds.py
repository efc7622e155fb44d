"""The worlds from which `gate_power` draws its runs: how each item was answered before, and how it is now.

A world draws a suite of three categories. For each category it gives two arrays of probabilities of a right answer: of
the baseline and of the run. Answers are drawn from them. 0 and 1 mean that every answer to the item is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow.parquet as pq

How: TypeAlias = Literal["slips", "breaks"]
Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
CATEGORIES = 3
CLUSTER = 10  # items of one template

ONE_MODEL = ("Llama-3.1-405B-Inst-fp8", "Llama-3.1-405B-Inst@sambanova", "Meta-Llama-3.1-405B-Instruct@hyperbolic")
WEAKER = {
    "gpt-4o to gpt-4o-mini": ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"),
    "405B to 70B": ("Meta-Llama-3.1-405B-Instruct@hyperbolic", "Meta-Llama-3.1-70B-Instruct"),
}


class Drop(NamedTuple):
    """A drop of the accuracy, 0..1. `slips`: any right answer may turn wrong; `breaks`: some items are always wrong."""

    size: float
    how: How = "slips"

    def spoil(self, rng: np.random.Generator, right: Floats) -> Floats:
        """The probabilities of a right answer after the drop."""
        share = self.size / max(float(right.mean()), self.size)
        return right * (1 - share) if self.how == "slips" else right * (rng.random(right.shape) >= share)


class World(NamedTuple):
    """Pools of items by category, each (before, after). `shared`: the chance that an item takes its template's draw."""

    name: str
    pools: tuple[Floats, ...]
    shared: float = 0.0
    has_own_drop: bool = False

    def suite(self, rng: np.random.Generator, items: int, drop: Drop) -> tuple[list[Floats], list[Floats]]:
        """Draws `items` of each category: their probabilities before and after, with the drop."""
        picked = [pool[:, rng.integers(0, pool.shape[1], items)] for pool in self.pools]
        return [pick[0] for pick in picked], [drop.spoil(rng, pick[1]) for pick in picked]

    def answers(self, rng: np.random.Generator, right: Floats, times: int) -> Floats:
        """The mean score of each item over `times` answers."""
        draws = rng.random((times, right.size))
        if self.shared:
            by_template = np.repeat(rng.random((times, -(-right.size // CLUSTER))), CLUSTER, axis=1)[:, : right.size]
            draws = np.where(rng.random(draws.shape) < self.shared, by_template, draws)
        means: Floats = (draws < right).mean(axis=0)
        return means


def drawn(name: str, accuracy: float, churn: float, shared: float = 0.0) -> World:
    """Items from a Beta distribution: two answers to one item differ in the share `churn` of cases."""
    spread = churn / 2 / (accuracy * (1 - accuracy))
    size = spread / (1 - spread)
    pool = np.random.default_rng(0).beta(accuracy * size, (1 - accuracy) * size, 20_000)
    return World(name, (np.stack([pool, pool]),) * CATEGORIES, shared)


WORLDS = (
    drawn("churn 4 %", 0.8, 0.04),
    drawn("churn 8 %", 0.8, 0.08),
    drawn("churn 12 %", 0.75, 0.12),
    drawn("churn 20 %", 0.5, 0.20),
    drawn("churn 8 %, templates", 0.8, 0.08, shared=0.3),
)


def recorded(path: Path) -> list[World]:
    """Worlds of recorded answers (a table of `category` and `score::MODEL`), three categories of real tasks."""
    columns = {*ONE_MODEL, *(model for pair in WEAKER.values() for model in pair)}
    table = pq.read_table(path, columns=["category", *(f"score::{model}" for model in sorted(columns))])
    category = np.array(table["category"].to_pylist())
    scores = {model: table[f"score::{model}"].to_numpy() for model in columns}
    by_category = [{model: scores[model][category == one] for model in columns} for one in np.unique(category)]
    shares = tuple(_shares(rows) for rows in by_category)
    switched = tuple(_pairs(rows, *ONE_MODEL[1:], by_chance=True) for rows in by_category)
    found = [World("recorded: one model, three providers", shares), World("recorded: provider switched", switched)]
    for name, pair in WEAKER.items():
        pools = tuple(_pairs(rows, *pair) for rows in by_category)
        found.append(World(f"recorded: {name}", pools, has_own_drop=True))
    return found


def _shares(rows: Mapping[str, Floats]) -> Floats:
    """The share of the providers that answered each item right. Items with fewer than two answers are left out."""
    answers = np.stack([rows[model] for model in ONE_MODEL])
    right = np.nanmean(answers[:, (~np.isnan(answers)).sum(axis=0) >= 2], axis=0)
    return np.stack([right, right])


def _pairs(rows: Mapping[str, Floats], before: str, after: str, *, by_chance: bool = False) -> Floats:
    pairs = np.stack([rows[before], rows[after]])
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if by_chance:
        swapped = np.random.default_rng(0).random(pairs.shape[1]) < 0.5
        pairs[:, swapped] = pairs[::-1, swapped]
    return pairs
