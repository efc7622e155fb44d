"""How routers tell prompts apart: each router sorts them into groups, and learns which model serves a group.

`ours` takes the table's category, or the one that this project infers from the instruction. The others are what people
use instead. All routers learn in the same way, so only their groups differ.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from slo_router.operator.evaluating.table import Table
from slo_router.request.categories import Categorizer, article, instruction_windows, rules

Groups = NDArray[np.intp]  # the group of each prompt, counted from 0

OURS, LENGTH, ARTICLE, COMPLEXITY = "ours", "prompt length", "article's heuristic", "LiteLLM's complexity router"
LENGTHS = 10  # groups with about as many prompts each
TIMEOUT_S = 1_800.0
# LiteLLM's import takes seconds and prints, and the command line does without it. So another process asks it.
ASK = """
import json, sys
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
asked = ComplexityRouter(model_name="m", litellm_router_instance=None, derive_savings_baseline=False)
print(json.dumps([getattr(asked.classify(one)[0], "value", "") for one in json.load(sys.stdin)]))
"""


def groups_of(table: Table, *, asks_litellm: bool = True) -> tuple[dict[str, Groups], list[str]]:
    """Each router's groups, and notes on them."""
    notes = []
    ours: Sequence[str]
    if table.categories is None:
        notes.append("the table has no categories: ours are inferred from the prompts")
        ours = inferred(table.prompts, rules())
    else:
        ours = table.categories
    named: dict[str, Groups] = {OURS: numbered(ours), LENGTH: by_length(table.prompts)}
    named[ARTICLE] = numbered(inferred(table.prompts, article))
    tiers = _tiers(table.prompts) if asks_litellm else None
    if tiers is not None:
        named[COMPLEXITY] = numbered(tiers)
    elif asks_litellm:
        notes.append(f"{COMPLEXITY} is not shown: no LiteLLM here that has it")
    return named, notes


def inferred(prompts: Sequence[str], categorizer: Categorizer) -> list[str]:
    """The category of each prompt, `unsure` where the categorizer is."""
    return [categorizer(instruction_windows(prompt)) or "unsure" for prompt in prompts]


def numbered(names: Sequence[str]) -> Groups:
    """One group for each name."""
    return np.unique(np.array(names), return_inverse=True)[1]


def by_length(prompts: Sequence[str]) -> Groups:
    """Ten groups of about as many prompts, by length."""
    lengths = np.array([len(prompt) for prompt in prompts])
    return np.searchsorted(np.quantile(lengths, np.arange(1, LENGTHS) / LENGTHS), lengths)


def _tiers(prompts: Sequence[str]) -> list[str] | None:
    """The tier that LiteLLM's own code gives each prompt, with its defaults; `None` where LiteLLM can't be asked."""
    if importlib.util.find_spec("litellm") is None:
        return None
    quiet: Mapping[str, str] = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(  # noqa: S603  # this very interpreter
            [sys.executable, "-c", ASK],
            input=json.dumps(prompts),
            env={**os.environ, **quiet},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        tiers: list[str] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return None
    return tiers
