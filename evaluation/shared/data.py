"""Where recorded data lies that the project does not ship. Studies that can do without it say so."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[3] / "shared" / "data"
ANSWERS = _FOLDER / "outcomes_zeroeval.parquet"  # score::MODEL and outtok::MODEL of 2,840 prompts (WildEval/ZeroEval)
TRAFFIC = _FOLDER / "traffic_azure2023_conv.csv.gz"  # t_s, prompt_tokens, output_tokens (Azure/AzurePublicDataset)
