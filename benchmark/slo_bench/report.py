"""What the agent prints of its results, as a table for people or JSON for programs.

Milliseconds and USD per 1,000 tokens, as in the configuration. Unmeasured is a dash or null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.table import Table

from slo_bench.plan import Plan
from slo_bench.results import CellResult
from slo_bench.stats import Spread

UNMEASURED = "–"
MS_PER_S = 1_000
EMPTY: Mapping[str, str] = MappingProxyType({})


def result_table(results: Sequence[CellResult]) -> Table:
    """One line per cell."""
    table = Table(title="Latencies in ms", title_justify="left")
    for name in ("deployment", "category"):
        table.add_column(name)
    for name in ("n", "errors", "TTFT p50", "p95", "TPOT p50", "E2E p50", "p95", "tok/s", "$/1k tokens"):
        table.add_column(name, justify="right")
    for result in results:
        stats = result.stats
        table.add_row(
            result.cell.facts.deployment_id,
            result.cell.category,
            str(stats.requests),
            ", ".join(f"{count} {name}" for name, count in stats.errors.items()) or "0",
            *_percentiles(stats.ttft),
            _percentiles(stats.tpot)[0],
            *_percentiles(stats.e2e),
            _number(stats.throughput_tps, ".1f"),
            _number(result.cost_per_1k_usd, ".3g"),
        )
    return table


def remarks(plan: Plan, results: Sequence[CellResult], stopped: Mapping[str, str] = EMPTY) -> list[str]:
    """What the table does not show: everything that was planned and is not, or not fully, in it.

    `stopped` says why a deployment was measured no further, where it was not the time that was up.
    """
    lines = [f"{skipped.deployment_id}: not measured: {skipped.reason}" for skipped in plan.skipped]
    found = {(result.cell.facts.deployment_id, result.cell.category): result for result in results}
    for cell in plan.cells:
        name = f"{cell.facts.deployment_id} {cell.category}"
        result = found.get((cell.facts.deployment_id, cell.category))
        why = stopped.get(cell.facts.deployment_id, "the time was up")
        if result is None:
            lines.append(f"{name}: not measured: {why}")
            continue
        if not result.complete:
            lines.append(f"{name}: after {result.stats.requests} of {len(cell.prompts)} requests {why}")
        if not result.measured:
            lines.append(f"{name}: not measured: no request was answered; earlier latencies are kept")
        if result.published is False:
            lines.append(f"{name}: not written: Redis did not take it")
    return lines


def result_document(plan: Plan, results: Sequence[CellResult]) -> dict[str, object]:
    """The results as JSON values."""
    return {"results": [_cell_document(result) for result in results], "skipped": skipped_document(plan)}


def _cell_document(result: CellResult) -> dict[str, object]:
    stats = result.stats
    return {
        "deployment": result.cell.facts.deployment_id,
        "category": result.cell.category,
        "requests": stats.requests,
        "errors": dict(stats.errors),
        "error_rate": stats.error_rate,
        "ttft_ms": _spread_ms(stats.ttft),
        "tpot_ms": _spread_ms(stats.tpot),
        "e2e_ms": _spread_ms(stats.e2e),
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "throughput_tps": stats.throughput_tps,
        "cost_per_1k": result.cost_per_1k_usd,
        "complete": result.complete,
        "published": result.published,
    }


def skipped_document(plan: Plan) -> list[dict[str, str]]:
    """The deployments that cannot be measured, as JSON values."""
    return [{"deployment": skipped.deployment_id, "reason": skipped.reason} for skipped in plan.skipped]


def _spread_ms(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    values = {"mean": spread.mean_s, "p50": spread.p50_s, "p95": spread.p95_s}
    return {name: round(value_s * MS_PER_S, 3) for name, value_s in values.items()}


def _percentiles(spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return UNMEASURED, UNMEASURED
    return _number(spread.p50_s * MS_PER_S, ".1f"), _number(spread.p95_s * MS_PER_S, ".1f")


def _number(value: float | None, form: str) -> str:
    return UNMEASURED if value is None else format(value, form)
