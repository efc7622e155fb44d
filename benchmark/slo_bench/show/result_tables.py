"""What the agent prints of its results, as a table for people or JSON for programs.

Milliseconds and USD per 1,000 tokens, as in the configuration. Unmeasured is a dash or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.table import Table

from slo_bench.checks.verdict import Verdict
from slo_bench.load.plan import Plan
from slo_bench.show.documents import cell_document, rivals_document
from slo_bench.show.full_tables import break_even_table, latency_table, rate_table, size_table
from slo_bench.summary.figures import figure, number, table
from slo_bench.summary.lag import MAX_P99_S, Lag
from slo_bench.summary.results import CellResult
from slo_bench.summary.rivals import rivals
from slo_bench.summary.stats import CellStats
from slo_router.contract.units import MS_PER_S

EMPTY: Mapping[str, str] = MappingProxyType({})
COLUMNS = (
    *(
        "deployment",
        "category",
        ">n",
        ">errors",
        ">odd",
        ">TTFT p50",
        ">p95",
        ">TPOT p50",
        ">ITL p95",
        ">E2E p50",
        ">p95",
    ),
    *(">tok/s", ">SLO", ">$/1k tok"),
)


def result_tables(results: Sequence[CellResult], *, full: bool = False) -> Iterator[Table]:
    """The summary; if `full`, all further tables; the break-even if a GPU and its priced rival were measured."""
    yield result_table(results)
    if full:
        yield latency_table(results)
        yield rate_table(results)
        yield size_table(results)
    pairs = rivals(results)
    if pairs:
        yield break_even_table(pairs)


def result_table(results: Sequence[CellResult]) -> Table:
    """One line per cell."""
    made = table(*COLUMNS, title="Latencies in ms", caption=_caption(results))
    for result in results:
        stats = result.stats
        made.add_row(
            result.cell.facts.name,
            result.cell.category,
            str(stats.requests),
            _errors(stats),
            f"{result.verdict.failed}/{result.verdict.checked}",
            *(figure(stats.ttft, name) for name in ("p50", "p95")),
            figure(stats.tpot, "p50"),
            figure(stats.itl, "p95"),
            *(figure(stats.e2e, name) for name in ("p50", "p95")),
            number(stats.throughput_tps, ".1f"),
            number(stats.attainment and stats.attainment.share, ".0%"),
            number(result.cost_per_1k_usd, ".3g"),
        )
    return made


def _caption(results: Sequence[CellResult]) -> str | None:
    lines = []
    spreads = [s for r in results for s in (r.stats.ttft, r.stats.itl, r.stats.e2e) if s is not None]
    if not all(found.supports("p95") for found in spreads):
        lines.append("* by fewer values than the percentile takes: 10 for the p90, 20 for the p95, 100 for the p99")
    shares = {result.cell.utilization for result in results if result.cell.facts.gpu_usd_per_hour is not None}
    if shares:
        lines.append(
            f"GPU hours are shared by what was served, as busy as here {max(shares):.0%} of the time: --utilization"
        )
    return "\n".join(lines) or None


def remarks(plan: Plan, results: Sequence[CellResult], stopped: Mapping[str, str] = EMPTY) -> list[str]:
    """What the table does not show, such as planned cells that are missing or incomplete.

    `stopped` says why a deployment was measured no further. For a deployment that it lacks, the time was up.
    """
    lines = [f"{skipped.deployment_id}: not measured: {skipped.reason}" for skipped in plan.skipped]
    found = {(result.cell.facts.deployment_id, result.cell.category): result for result in results}
    for cell in plan.cells:
        name = f"{cell.facts.name} {cell.category}"
        result = found.get((cell.facts.deployment_id, cell.category))
        why = stopped.get(cell.facts.deployment_id, "the time was up").partition(": ")[0]  # the rest is told once
        if result is None:
            lines.append(f"{name}: not measured: {why}")
            continue
        if not result.complete:
            lines.append(f"{name}: after {result.stats.requests} of {len(cell.prompts)} requests {why}")
        lines.extend(f"{name}: {line}" for line in _unanswered(result))
        if result.verdict.is_faulty:
            lines.append(f"{name}: {_faulty(result.verdict)}")
        if result.published is False:
            lines.append(f"{name}: not written: Redis did not take it")
        if result.lag is not None:
            lines.append(f"{name}: {_late(result.lag)}")
    return lines


def _errors(stats: CellStats) -> str:
    """The errors by class; those that say nothing about the deployment are in brackets."""
    counted = [f"{count} {name}" for name, count in stats.errors.items()]
    excused = [f"({count} {name})" for name, count in stats.inconclusive.items()]
    return ", ".join([*counted, *excused]) or "0"


def _unanswered(result: CellResult) -> Iterator[str]:
    """What is said of requests without an answer, beside the number of errors."""
    stats = result.stats
    if result.unmeasured_because is not None:
        yield f"not measured, because: {result.unmeasured_because}; nothing is published"
    elif not result.measured:
        yield "not measured: no request was answered; earlier latencies are kept"
    if stats.excuse is not None and result.tells:
        count = stats.requests - stats.conclusive
        yield f"{count} of {stats.requests} requests say nothing, because: {stats.excuse}; they are in no error rate"


def _faulty(verdict: Verdict) -> str:
    """What the answer checks found."""
    interval, faults = verdict.interval, ", ".join(f"{count} {name}" for name, count in verdict.faults.items())
    bounds = "" if interval is None else f" ({interval.low:.0%} to {interval.high:.0%} of all)"
    return (
        f"{verdict.failed} of {verdict.checked} answers failed their checks{bounds}: {faults}; it gets no such traffic"
    )


def _late(lag: Lag) -> str:
    """How late an open loop was sent."""
    p50, p99, most = (f"{value_s * MS_PER_S:.1f}" for value_s in (lag.p50_s, lag.p99_s, lag.max_s))
    found = f"requests were sent {p50} ms late (p50), {p99} ms (p99), {most} ms at most"
    return found if lag.is_trusted else f"not to be trusted: {found}; the limit is {MAX_P99_S * MS_PER_S:g} ms at p99"


def result_document(plan: Plan, results: Sequence[CellResult]) -> dict[str, object]:
    """The results as JSON values."""
    return {
        "results": [cell_document(result) for result in results],
        "break_even": [rivals_document(pair) for pair in rivals(results)],
        "skipped": [skipped.document() for skipped in plan.skipped],
    }
