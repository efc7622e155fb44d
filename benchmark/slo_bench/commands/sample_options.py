"""The options of `slo-bench sample` and its help text: names, bounds and words, no behaviour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Argument, Option

from slo_bench.sampling.rules import DEFAULT_REGIONS
from slo_bench.sampling.scrubbers import RULES
from slo_bench.sampling.sources import Kind

ALL_RULES = ",".join(RULES)
PHONE_REGIONS = ",".join(DEFAULT_REGIONS)

SAMPLE_HELP = """Makes a workload out of production traffic: a stratified sample, scrubbed before it is stored.

\b
From the router's request records (log_prompts must be on), in Redis or in its JSONL logs:
  slo-bench sample --config litellm_config.yaml --output workload.jsonl
  slo-bench sample requests.*.jsonl --output workload.jsonl

\b
From LiteLLM's spend logs (store_prompts_in_spend_logs must be on) or an OpenAI batch file:
  slo-bench sample spend_logs.json --category chat --output workload.jsonl
  slo-bench sample batch.jsonl --category summarization --output workload.jsonl

\b
Then measure with it:
  slo-bench run --config litellm_config.yaml --workload workload.jsonl

As many requests of each category, of which each stratum (prompt length, streamed or not) has the share that it has in
the traffic, but is there at least once. What a scrubber finds becomes <EMAIL_1>, the same for the same thing within a
prompt. Requests with images, audio or files are left out, for nobody can tell what is in them; so are failed ones.

Exit code: 0 the file was written, 2 it was not: nothing could be sampled, or the call was wrong.
"""

Files: TypeAlias = Annotated[
    list[Path] | None, Argument(metavar="FILE", show_default=False, help="Requests; none: the stream in Redis.")
]
Output: TypeAlias = Annotated[Path, Option("--output", "-o", metavar="FILE", help="The workload: a .jsonl file.")]
Config: TypeAlias = Annotated[Path | None, Option(help="The proxy's own YAML: where its Redis is.")]
RedisUrl: TypeAlias = Annotated[str | None, Option(metavar="URL", help="Instead of the one in the YAML.")]
Hours: TypeAlias = Annotated[float | None, Option(min=0.01, help="Of the stream only the last.", show_default="all")]
OfKind: TypeAlias = Annotated[Kind | None, Option(help="What the files hold.", show_default="seen by their content")]
Category: TypeAlias = Annotated[
    str | None, Option(metavar="NAME", help="Of requests that name none, or that the router was unsure of.")
]
Group: TypeAlias = Annotated[str | None, Option(metavar="NAME", help="Only requests to this group of model_list.")]
PerCategory: TypeAlias = Annotated[int, Option(min=1, max=10_000, help="Prompts of each category.")]
Floor: TypeAlias = Annotated[int, Option(min=0, help="Prompts of each stratum, at least.")]
MaxTokens: TypeAlias = Annotated[int, Option(min=1, help="Bounds an answer that was allowed to be longer.")]
Seed: TypeAlias = Annotated[int, Option(help="Decides what is drawn.")]
Rules: TypeAlias = Annotated[str, Option(metavar="NAME,NAME", help="The built-in scrubbers; '' for none.")]
PhoneRegions: TypeAlias = Annotated[
    str, Option(metavar="US,GB", help="Countries whose telephone numbers are found without their +code.")
]
Scrubber: TypeAlias = Annotated[
    list[str] | None,
    Option(metavar="MODULE:CALLABLE", help="Your own: a function from a text to (start, end, KIND); repeatable."),
]
Names: TypeAlias = Annotated[bool, Option("--names", help="People's names too: needs the extra `names`.")]
AsJson: TypeAlias = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
