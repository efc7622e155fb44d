"""The own options of `slo-bench quality`, and its help text. Only words and bounds, no behaviour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Option

HELP = """Asks every deployment the items of a suite, grades the answers and writes `quality_score` to Redis.

\b
Show the plan, then run it, then run a part of it:
  slo-bench quality --config litellm_config.yaml --dry-run
  slo-bench quality --config litellm_config.yaml
  slo-bench quality --config litellm_config.yaml --deployments qwen-7b --categories ner

\b
Your own items, one JSON object a line, or the same fields in YAML under `items:`:
  {"id": "vat-7", "category": "reasoning", "max_tokens": 64, "messages": [{"role": "user", "content": "..."}],
   "grader": {"type": "numeric", "expected": 19.6, "tolerance": 0.05}}
  slo-bench quality --config litellm_config.yaml --suite items.jsonl

\b
A model as the judge, through the proxy; unit tests on generated code; a limit on cost:
  slo-bench quality --config litellm_config.yaml --suite items.yaml --judge gpt-4o --via-proxy http://localhost:4000
  slo-bench quality --config litellm_config.yaml --suite code.yaml --allow-code --budget-usd 2

Answers are kept in a private file and reused within --max-age-hours. So a stopped run continues, and a changed grader
costs no requests. Errors and timeouts are not wrong answers. If fewer than nine in ten items are graded, the score is
not written.

Each run is compared with the good runs before it. If a quality drops by more than --allow-drop and more than chance,
the agent raises an alert. The deployment then passes no quality floor until it is as good again: see slo-bench history.

Exit code: 0 everything was graded and written, 1 some deployment or category was not, 2 nothing was, or the call was
wrong, 3 a quality dropped.
"""

SuiteFile: TypeAlias = Annotated[
    Path | None, Option(help="Items, YAML or JSONL.", show_default="ner, summarization, reasoning", metavar="FILE")
]
Items: TypeAlias = Annotated[
    int | None, Option(min=1, metavar="N", help="Ask only the first N items per category.", show_default="all")
]
JudgeName: TypeAlias = Annotated[
    str | None, Option(metavar="ID", help="The deployment that judges, or a model name of the proxy's.")
]
AllowCode: TypeAlias = Annotated[bool, Option("--allow-code", help="Run generated code, in a limited process.")]
MaxAgeHours: TypeAlias = Annotated[float, Option(min=0.0, help="Older answers are asked for again.")]
NoCache: TypeAlias = Annotated[bool, Option("--no-cache", help="Keep no answers and use none.")]
AllowDrop: TypeAlias = Annotated[
    float, Option(min=0.0, max=1.0, metavar="POINTS", help="Allowed drop of a score (0 to 1); 1 lets all pass.")
]
