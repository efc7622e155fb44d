"""The data of the headline: prompts with the recorded answers of several models, and a point to operate at.

The played pool is one family in the three sizes that its maker published: Llama-3.1 with 8, 70 and 405 billion
parameters, on the 2,840 prompts of ZeroEval (WildEval/ZeroEval, Apache-2.0: GSM8K, MATH level 5, CRUXEval). It was
chosen for this reason, before anything was measured. `ELSEWHERE` has further pools, which are computed and not played.

Costs are the recorded output tokens and the prompt's characters ÷ 4, at the prices of the data's `prices.csv`. A
prompt's category is what the plugin's own rules read from its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evaluation.shared.data import ANSWERS, MMLU_PRO, PRICES
from slo_router.operator.evaluating.ladder import Data, choices, learn
from slo_router.operator.evaluating.study import split
from slo_router.operator.evaluating.table import Choice, Floats, Table, read_prices, read_table
from slo_router.request.categories import instruction_windows, rules

NAMES = ("8b", "70b", "405b")  # of the played models; for a name with llama-3 LiteLLM would download a tokenizer
DEFAULT = "default"  # stands for every category without its own number
FEWEST = 50  # training prompts that a category needs for its own number
DIGITS = 4  # decimals of a quality in the configuration
Rows = NDArray[np.intp]


class Pool(NamedTuple):
    """Models of one table, by names that may contain `*`. In `MAIN` the smallest comes first."""

    name: str
    path: Path
    models: tuple[str, ...]
    left_out: tuple[str, ...] = ()


MAIN = Pool(
    "Llama-3.1 8B, 70B, 405B on ZeroEval",
    ANSWERS,
    ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct", "Llama-3.1-405B-Inst@sambanova"),
)
ELSEWHERE = (
    MAIN,
    Pool("all models on ZeroEval", ANSWERS, (), ("o1-*",)),
    Pool("all models on MMLU-Pro", MMLU_PRO, (), ("gemini-1.5-*",)),
    Pool("GPT-4o, 4o mini, 3.5 on ZeroEval", ANSWERS, ("gpt-4o-2024-08-06", "gpt-4o-mini*", "gpt-3.5*")),
    Pool(
        "Claude 3.5 Sonnet, 3.5 Haiku, 3 Haiku on ZeroEval",
        ANSWERS,
        ("claude-3-5-sonnet-20241022", "claude-3-5-haiku*", "claude-3-haiku*"),
    ),
    Pool("Qwen2 7B, 72B on ZeroEval", ANSWERS, ("Qwen2-7B*", "Qwen2-72B*")),
    Pool("Llama-3 8B, 70B on ZeroEval", ANSWERS, ("Meta-Llama-3-8B*", "Meta-Llama-3-70B*")),
    Pool("Llama-3.1 8B, 70B on MMLU-Pro", MMLU_PRO, ("Meta-Llama-3_1-8B-Inst*", "Meta-Llama-3_1-70B-Inst*")),
    Pool("Qwen1.5 7B, 72B on MMLU-Pro", MMLU_PRO, ("Qwen1.5-7B-Chat", "Qwen1.5-72B-Chat")),
)


class Served(NamedTuple):
    """A model: its USD per token, and the length of its recorded answers."""

    name: str
    column: str  # in the table
    usd: tuple[float, float]  # prompt, completion
    output_tokens: float  # mean
    output_sigma: float  # of the logarithm


@dataclass(frozen=True, slots=True)
class Recorded:
    """Prompts, with the score and the cost of each model's answer: a row for each prompt, a column for each model."""

    models: Sequence[Served]  # the smallest first, the largest last
    prompts: Sequence[str]
    categories: Sequence[str]  # as the plugin infers them
    score: Floats
    cost_usd: Floats


def read(pool: Pool) -> Recorded:
    """The played pool's prompts. Raises SettingsError or OSError if the data is missing."""
    prices = read_prices(PRICES)
    table = read_table(pool.path, Choice(models=pool.models, prices=prices))
    columns = pq.read_table(pool.path, columns=[f"outtok::{one}" for one in pool.models])
    served = []
    for name, column in zip(NAMES, pool.models, strict=True):
        tokens = np.array(columns[f"outtok::{column}"].to_pylist(), dtype=np.float64)
        tokens = tokens[tokens >= 1]  # NaN is not
        usd_in, usd_out = prices[column]
        spread = float(np.log(tokens).std())
        served.append(Served(name, column, (usd_in / 1e6, usd_out / 1e6), float(tokens.mean()), spread))
    return recorded(table, served)


def recorded(table: Table, served: Sequence[Served]) -> Recorded:
    """A table whose models are `served`, in that order, with the plugin's categories."""
    order = [table.models.index(one.column) for one in served]
    categorizer = rules()
    categories = [categorizer(instruction_windows(prompt)) or "unsure" for prompt in table.prompts]
    return Recorded(served, table.prompts, categories, table.score[:, order], table.cost_usd[:, order])


class Value(NamedTuple):
    """Cost and quality as shares of the largest model's on the same prompts."""

    cost: float
    quality: float


class Point(NamedTuple):
    """What an operator would write into the configuration, chosen on training and validation prompts.

    `test` are the other prompts. Qualities are those of `learn`, on a scale where no category is harder than another.
    """

    qualities: Mapping[str, Mapping[str, float]]  # model → category → 0..1
    floors: Mapping[str, float]  # category → min_quality
    chosen: Mapping[str, str]  # category → the model that a floor stands for
    training: Rows
    test: Rows
    on_validation: Value
    on_test: Value  # only to compare with the measurement; nothing is chosen by it


def operating_point(world: Recorded, seed: int, share: float) -> Point:
    """The cheapest choice of a model for each category that keeps `share` of the largest's quality on validation."""
    strata = np.unique(np.array(world.categories), return_inverse=True)[1]
    training, validation, test = split(strata, seed)
    names, groups = named(world.categories, training)
    cost = world.cost_usd / world.cost_usd[:, -1].mean()
    data = Data(world.score, cost)
    learned = learn(data.at(training), groups[training], len(names))
    every = choices(learned)
    values = [value(world, validation, one[groups[validation]]) for one in every]
    keeps = [i for i, one in enumerate(values) if one.quality >= share]
    at = keeps[0] if keeps else len(values) - 1
    quality = np.round(np.clip(learned.score, 0.0, 1.0), DIGITS)
    models = [one.name for one in world.models]
    return Point(
        qualities={model: dict(zip(names, map(float, quality[:, i]), strict=True)) for i, model in enumerate(models)},
        floors={name: float(quality[i, every[at][i]]) for i, name in enumerate(names)},
        chosen={name: models[every[at][i]] for i, name in enumerate(names)},
        training=training,
        test=test,
        on_validation=values[at],
        on_test=value(world, test, every[at][groups[test]]),
    )


def named(categories: Sequence[str], training: Rows) -> tuple[list[str], Rows]:
    """`default` and the categories with enough training prompts, and the index of each prompt's category in them."""
    counted = Counter(categories[row] for row in training)
    names = [DEFAULT, *sorted(name for name, count in counted.items() if count >= FEWEST and name != "unsure")]
    return names, np.array([names.index(one) if one in names else 0 for one in categories])


def value(world: Recorded, rows: Sequence[int] | Rows, models: Sequence[int] | Rows) -> Value:
    """Cost and quality of these prompts, each answered by the model at the same position."""
    rows, models = np.asarray(rows), np.asarray(models)
    cost, score = (values[rows, models].sum() / values[rows, -1].sum() for values in (world.cost_usd, world.score))
    return Value(float(cost), float(score))
