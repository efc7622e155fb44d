"""Estimates before a run what it will take: requests, tokens, seconds and USD.

A closed loop with n requests, c ≤ n of them at a time, takes e2e × (n ÷ c + (c − 1) ÷ 2c) seconds: at the end some of
the c senders have nothing left to send. An open loop takes the time until the last arrival, and its answer. A typical
request of a cell comes from the first of these that is known:

    earlier run      what the agent measured when it last measured this cell
    metrics          TTFT, TPOT and answer length in the deployment's metrics, of any writer
    first requests   a few requests of each category, which the run sends before it prints the plan
    assumed          a first token after 0.5 s, then 50 tokens per second, half of `max_tokens`, four bytes per token
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from slo_bench.guard.budget import SECONDS_PER_HOUR, prompt_bytes, request_usd
from slo_bench.load.plan import Cell, Limits
from slo_bench.prompts.workload import Prompt
from slo_bench.summary.results import CellResult
from slo_router.contract.model import Facts, Metrics

Basis = Literal["earlier run", "metrics", "first requests", "assumed"]
ASSUMED_TTFT_S = 0.5
ASSUMED_TPOT_S = 0.02
ASSUMED_ANSWER = 0.5  # of max_tokens
BYTES_PER_TOKEN = 4
IMAGE_BYTES = 4_000  # counted for a part of a prompt that is not text

CellKey = tuple[str, str]  # deployment id and category


class Request(NamedTuple):
    """A typical request of a cell, at the load of the run."""

    e2e_s: float
    prompt_tokens: float
    completion_tokens: float
    basis: Basis


class Expected(NamedTuple):
    """What a cell, a deployment or a run takes. `usd` is `None` where no part has a known price."""

    requests: int = 0
    tokens: float = 0.0
    seconds: float = 0.0
    usd: float | None = None


def rounds(requests: int, concurrency: int) -> float:
    """The duration of a closed loop ÷ the duration of one request."""
    senders = min(concurrency, requests)
    return requests / senders + (senders - 1) / (2 * senders) if senders else 0.0


def wall_s(e2e_s: float, requests: int, limits: Limits) -> float:
    """The seconds of a cell whose requests take `e2e_s` each."""
    if limits.arrivals:
        return limits.arrivals[min(requests, len(limits.arrivals)) - 1].at_s + e2e_s
    return e2e_s * rounds(requests, limits.concurrency)


def assumed(cell: Cell) -> Request:
    """The assumed request of a cell without measurements."""
    completion = ASSUMED_ANSWER * sum(prompt.max_tokens for prompt in cell.prompts) / len(cell.prompts)
    return Request(
        ASSUMED_TTFT_S + ASSUMED_TPOT_S * completion, mean_prompt_tokens(cell.prompts), completion, "assumed"
    )


def from_metrics(cell: Cell, metrics: Metrics) -> Request | None:
    """A typical request from the deployment's metrics; `None` where they lack a value."""
    ttft_s, tpot_s, completion = metrics.ttft_s, metrics.tpot_s, metrics.output_tokens_mean
    if ttft_s is None or tpot_s is None or completion is None:
        return None
    seconds = ttft_s + tpot_s * max(completion - (metrics.hidden_tokens_mean or 0.0) - 1, 0)
    return Request(seconds, mean_prompt_tokens(cell.prompts), completion, "metrics")


def from_result(result: CellResult, limits: Limits) -> Request | None:
    """The mean request of a measured cell, with failed ones; `None` where its tokens are unknown."""
    stats = result.stats
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return None
    without_s = wall_s(0.0, stats.requests, limits)
    e2e_s = max(stats.wall_s - without_s, 0.0) / (wall_s(1.0, stats.requests, limits) - without_s)
    return Request(e2e_s, stats.prompt_tokens / stats.requests, stats.completion_tokens / stats.requests, "earlier run")


def expected(facts: Facts, request: Request, requests: int, seconds: float) -> Expected:
    """What `requests` such requests to one deployment take, if they last `seconds` together."""
    usd = request_usd(facts, requests * request.prompt_tokens, requests * request.completion_tokens)
    if facts.gpu_usd_per_hour is not None:
        usd = facts.gpu_usd_per_hour / SECONDS_PER_HOUR * seconds
    return Expected(requests, requests * (request.prompt_tokens + request.completion_tokens), seconds, usd)


class EstimateRow(NamedTuple):
    """One deployment in the plan."""

    deployment_id: str
    categories: tuple[str, ...]
    expected: Expected
    bases: tuple[Basis, ...]  # each basis of its cells, once


class Estimate(NamedTuple):
    """The whole run, deployment by deployment. The total has wall-clock seconds, and the USD of known prices."""

    rows: tuple[EstimateRow, ...]
    total: Expected


def estimate(groups: Sequence[tuple[Cell, ...]], known: Mapping[CellKey, Request], limits: Limits) -> Estimate:
    """The estimate of a plan whose cells stand in `groups`, one for each deployment. `known` has every cell."""
    rows: list[EstimateRow] = []
    for cells in groups:
        facts = cells[0].facts
        requests = [known[key_of(cell)] for cell in cells]
        warmup_s = requests[0].e2e_s * rounds(limits.warmup, limits.concurrency)
        parts = [expected(facts, requests[0], limits.warmup, warmup_s)]
        for cell, request in zip(cells, requests, strict=True):
            count = len(cell.prompts)
            parts.append(expected(facts, request, count, wall_s(request.e2e_s, count, limits)))
        bases = tuple(dict.fromkeys(request.basis for request in requests))
        rows.append(EstimateRow(facts.deployment_id, tuple(c.category for c in cells), _sum(parts), bases))
    total = _sum([row.expected for row in rows])
    longest = max((row.expected.seconds for row in rows), default=0.0)
    return Estimate(tuple(rows), total._replace(seconds=longest) if limits.parallel else total)


def mean_prompt_tokens(prompts: Sequence[Prompt]) -> float:
    """The mean tokens of the prompts, estimated from their bytes."""
    return sum(prompt_bytes(prompt, IMAGE_BYTES) for prompt in prompts) / len(prompts) / BYTES_PER_TOKEN


def key_of(cell: Cell) -> CellKey:
    """Deployment and category."""
    return cell.facts.deployment_id, cell.category


def _sum(parts: Sequence[Expected]) -> Expected:
    priced = [part.usd for part in parts if part.usd is not None]
    return Expected(
        sum(part.requests for part in parts),
        sum(part.tokens for part in parts),
        sum(part.seconds for part in parts),
        sum(priced) if priced else None,
    )
