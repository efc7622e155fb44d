"""The options of `slo-bench run` and its help text: names, bounds and words, no behaviour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from typer import Option

RUN_HELP = """Measures every deployment in every category and writes the results to Redis.

\b
Show the plan, then run it, then repeat a part of it:
  slo-bench run --config litellm_config.yaml --dry-run
  slo-bench run --config litellm_config.yaml
  slo-bench run --config litellm_config.yaml --deployments qwen-7b --categories ner --requests 50

\b
Every night, within limits (see `slo-bench schedule` for the crontab line or the CronJob):
  slo-bench run --config litellm_config.yaml --max-minutes 30 --budget-usd 2

\b
Your own prompts, one JSON object a line, or the same fields in YAML under `prompts:`:
  {"category": "ner", "max_tokens": 128, "messages": [{"role": "user", "content": "..."}]}
  slo-bench run --config litellm_config.yaml --workload prompts.jsonl

\b
By the clock instead of so many at once: Poisson arrivals, bursts, or a recorded trace:
  slo-bench run --config litellm_config.yaml --requests 200 --rate 4 --burstiness 0.5
  slo-bench run --config litellm_config.yaml --requests 200 --trace traffic.csv.gz --speed 10

\b
Providers that don't speak the OpenAI protocol, through the running proxy:
  LITELLM_MASTER_KEY=... slo-bench run --config litellm_config.yaml --via-proxy http://localhost:4000

Deployments are measured one after another, so that they don't disturb each other. Warm-up requests are discarded. A
failed request counts only in the error rate. A deployment that answers nothing keeps its last good values.

A direct call sends the headers, settings and extra_body of litellm_params. Failures that are not the deployment's (a
refused parameter, missing rights or credit, hidden reasoning that used up max_tokens) are reported and not counted.

The command prints beforehand what the run will take. The run ends after --max-minutes, or before it would pass
--budget-usd. Only one agent at a time measures an endpoint. It waits while live traffic is high. An interrupted run
continues.

Exit code: 0 everything was measured, 1 some deployment or category was not, 2 nothing was, or the call was wrong.
"""

Config: TypeAlias = Annotated[Path, Option(help="The proxy's own YAML: deployments, prices, Redis.")]
WorkloadFile: TypeAlias = Annotated[
    Path | None, Option(help="Prompts, YAML or JSONL.", show_default="ner, summarization, reasoning", metavar="FILE")
]
ViaProxy: TypeAlias = Annotated[str | None, Option(metavar="URL", help="Call deployments through this proxy.")]
ProxyKey: TypeAlias = Annotated[
    str | None,
    Option(metavar="KEY", envvar=["SLO_BENCH_PROXY_KEY", "LITELLM_MASTER_KEY"], help="Its key; the master key works."),
]
Requests: TypeAlias = Annotated[int, Option(min=1, help="Per deployment and category.")]
Concurrency: TypeAlias = Annotated[int, Option(min=1, help="Requests in flight per deployment.")]
Rate: TypeAlias = Annotated[
    float | None,
    Option(
        min=0.001, metavar="R", help="Send R requests per second, whatever is in flight.", show_default="closed loop"
    ),
]
Burstiness: TypeAlias = Annotated[
    float, Option(min=0.01, max=1000.0, help="Of the gaps at --rate: 1 Poisson, less: bursts, more: even gaps.")
]
Trace: TypeAlias = Annotated[
    Path | None, Option(metavar="FILE", help="Send at the times of a CSV: t_s,prompt_tokens,output_tokens.")
]
Speed: TypeAlias = Annotated[float, Option(min=0.001, help="How many times as fast as --trace was recorded.")]
Warmup: TypeAlias = Annotated[int, Option(min=0, help="Discarded requests per deployment.")]
TimeoutS: TypeAlias = Annotated[float, Option(min=0.1, help="Per request, seconds.")]
MaxMinutes: TypeAlias = Annotated[float, Option(min=0.001, help="For the whole run; then it stops.")]
BudgetUsd: TypeAlias = Annotated[
    float | None, Option(min=0.0, metavar="USD", help="For the whole run; then it stops.", show_default="10")
]
PauseAbove: TypeAlias = Annotated[int, Option(min=0, help="Wait while a deployment has more live requests.")]
MaxPauseMinutes: TypeAlias = Annotated[float, Option(min=0.0, help="Per deployment; then it is left out.")]
SkipLocked: TypeAlias = Annotated[
    bool, Option("--skip-locked", help="Leave out a deployment that another agent is measuring, instead of waiting.")
]
Fresh: TypeAlias = Annotated[
    bool, Option("--fresh", help="Measure also the cells that an interrupted run of the same plan finished.")
]
Deployments: TypeAlias = Annotated[str, Option(metavar="ID,ID", help="Only these.", show_default="all")]
Categories: TypeAlias = Annotated[str, Option(metavar="NAME,NAME", help="Only these.", show_default="all")]
Seed: TypeAlias = Annotated[int, Option(help="The random seed for the order of the prompts.")]
Parallel: TypeAlias = Annotated[bool, Option("--parallel", help="All deployments at once.")]
RedisUrl: TypeAlias = Annotated[str | None, Option(metavar="URL", help="A Redis instead of the YAML's.")]
NoPublish: TypeAlias = Annotated[bool, Option("--no-publish", help="Write nothing to Redis.")]
DryRun: TypeAlias = Annotated[bool, Option("--dry-run", help="Print the plan, send no request.")]
Utilization: TypeAlias = Annotated[
    float, Option(min=0.001, max=1.0, help="Share of its paid hours in which a GPU is as busy as it is measured.")
]
Full: TypeAlias = Annotated[bool, Option("--full", help="Every latency with its intervals, rates and token counts.")]
Html: TypeAlias = Annotated[
    Path | None, Option("--html", metavar="FILE", help="Also write a page with plots and the history.")
]
AsJson: TypeAlias = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
