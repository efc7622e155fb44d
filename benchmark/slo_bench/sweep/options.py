"""The own options of `slo-bench sweep`, besides those of `run`, and its help text."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from typer import Option

HELP = """Finds the rate at which each deployment saturates, and how its latency follows prompt length and load.

\b
  slo-bench sweep --config litellm_config.yaml --deployments qwen-7b
  slo-bench sweep --config litellm_config.yaml --lengths 256,2048,8192 --step-s 20
  slo-bench sweep --config litellm_config.yaml --rates 1,2,4,8 --no-publish --json

For each prompt length it sends requests one at a time, then at doubling rates. It stops when the throughput no longer
follows, the queue keeps growing, or less than half of the requests keep the group's SLO. Two more steps narrow the knee
down to a fifth. The knee is the highest rate at which --target of the requests keep the SLO.

It fits TTFT to prompt tokens, requests in flight and queue, and TPOT to requests in flight. It writes the fit to Redis
with its error. The router predicts by the fit until live traffic tells more. A sweep loads a deployment to its limit:
run it when nobody else needs the deployment.

Exit code: 0 everything was swept and written, 1 some was not, 2 nothing was, or the call was wrong.
"""

Lengths: TypeAlias = Annotated[str, Option(metavar="N,N", help="Prompt lengths, tokens; two at least.")]
Rates: TypeAlias = Annotated[
    str, Option(metavar="R,R", help="Requests per second, rising.", show_default="found by climbing")
]
StepS: TypeAlias = Annotated[float, Option(min=0.1, help="Seconds of sending at each rate.")]
OutputTokens: TypeAlias = Annotated[int, Option(min=2, help="Longest answer.")]
TargetShare: TypeAlias = Annotated[
    float, Option("--target", min=0.0, max=1.0, help="Share of requests that must keep the SLO at the knee.")
]
