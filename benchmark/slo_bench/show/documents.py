"""All results of a cell as JSON values. Milliseconds and USD; unmeasured is null.

A latency is `{"mean", "p50", "p90", "p95", "p99", "n", "ci95": {"p50": [low, high], …}, "too_few_for": ["p99"]}`. A
figure in `too_few_for` has fewer values than it needs. A figure without an interval in `ci95` has too few values for
one.
"""

from __future__ import annotations

from slo_bench.checks.verdict import Verdict
from slo_bench.summary.figures import rounded_ms
from slo_bench.summary.results import CellResult
from slo_bench.summary.rivals import Rivals
from slo_bench.summary.spreads import SHARES, Spread
from slo_bench.summary.stats import CellStats
from slo_router.contract.intervals import Interval


def cell_document(result: CellResult) -> dict[str, object]:
    """One cell."""
    stats, facts = result.stats, result.cell.facts
    return {
        "deployment": facts.deployment_id,
        "category": result.cell.category,
        "requests": stats.requests,
        "errors": dict(stats.errors),
        "inconclusive": dict(stats.inconclusive),
        "inconclusive_because": None if stats.excuse is None else str(stats.excuse),
        "not_measured_because": result.unmeasured_because,
        "error_rate": stats.error_rate,
        "error_rate_ci95": _bounds(stats.error_rate_interval),
        "answers": _answers(result.verdict),
        "ttft_ms": _spread_ms(stats.ttft),
        "tpot_ms": _spread_ms(stats.tpot),
        "itl_ms": _spread_ms(stats.itl),
        "e2e_ms": _spread_ms(stats.e2e),
        "wall_s": round(stats.wall_s, 6),
        "requests_per_s": stats.requests_per_s,
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "cached_tokens": stats.cached_tokens,
        "reasoning_tokens": stats.reasoning_tokens,
        "prompt_tps": stats.prompt_tps,
        "throughput_tps": stats.throughput_tps,
        "slo": _slo(result, stats),
        "cost_per_1k": result.cost_per_1k_usd,
        "utilization": None if facts.gpu_usd_per_hour is None else result.cell.utilization,
        "complete": result.complete,
        "published": result.published,
        "send_lag_ms": None if result.lag is None else result.lag.document(),
    }


def _answers(verdict: Verdict) -> dict[str, object]:
    state = "faulty" if verdict.is_faulty else "sound" if verdict.is_sound else "undecided"
    return {
        "checked": verdict.checked,
        "failed": verdict.failed,
        "failed_ci95": _bounds(verdict.interval),
        "faults": dict(verdict.faults),
        "verdict": state,
    }


def rivals_document(pair: Rivals) -> dict[str, object]:
    """The break-even of two deployments."""
    at = pair.at
    return {
        "category": pair.gpu.cell.category,
        "self_hosted": pair.gpu.cell.facts.deployment_id,
        "priced": pair.priced.cell.facts.deployment_id,
        "gpu_usd_per_hour": at.gpu_usd_per_hour,
        "usd_per_request": at.usd_per_request,
        "requests_per_hour": at.requests_per_hour,
        "tokens_per_hour": at.tokens_per_hour,
        "capacity_requests_per_hour": at.capacity_per_hour,
        "reachable": at.reachable,
    }


def _slo(result: CellResult, stats: CellStats) -> dict[str, object] | None:
    slo, found = result.cell.slo, stats.attainment
    limits = {"ttft_ms": slo.ttft_s, "tpot_ms": slo.tpot_s, "e2e_ms": slo.e2e_s}
    given = {name: rounded_ms(limit_s) for name, limit_s in limits.items() if limit_s is not None}
    if not given:
        return None
    return {
        "limits": given,
        "attainment": None if found is None else found.share,
        "attainment_ci95": None if found is None else _bounds(found.interval),
        "goodput_rps": stats.goodput_rps,
    }


def _spread_ms(spread: Spread | None) -> dict[str, object] | None:
    if spread is None:
        return None
    return {
        **{name: rounded_ms(spread.value_s(name)) for name in ("mean", *SHARES)},
        "n": spread.n,
        "ci95": {name: [rounded_ms(low), rounded_ms(high)] for name, (low, high) in spread.intervals.items()},
        "too_few_for": [name for name in SHARES if not spread.supports(name)],
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
