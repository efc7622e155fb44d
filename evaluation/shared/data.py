"""The paths of recorded data that the project does not ship. Studies that work without the data say so."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

_FOLDER = Path(__file__).parents[3] / "shared" / "data"
MMLU_PRO = _FOLDER / "outcomes_mmlupro.parquet"  # 12,032 prompts of 14 subjects (TIGER-AI-Lab/MMLU-Pro)
PRICES = _FOLDER / "prices.csv"  # USD per 1M tokens
ANSWERS = _FOLDER / "outcomes_zeroeval.parquet"  # score::MODEL and outtok::MODEL of 2,840 prompts (WildEval/ZeroEval)
TRAFFIC = _FOLDER / "traffic_azure2023_conv.csv.gz"  # t_s, prompt_tokens, output_tokens (Azure/AzurePublicDataset)


def prompt_tokens(rng: random.Random, count: int) -> list[int]:
    """Prompt lengths of recorded requests. If the record is missing, log-normal ones of about the same spread."""
    if not TRAFFIC.exists():
        return [min(int(rng.lognormvariate(6.5, 1.2)), 8_000) for _ in range(count)]
    with gzip.open(TRAFFIC, "rt", encoding="utf-8", newline="") as file:
        return rng.sample([int(row["prompt_tokens"]) for row in csv.DictReader(file)], count)
