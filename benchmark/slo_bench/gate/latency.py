"""A cell of `slo-bench run` as the history keeps it, and a warning where it got slower or failed more often.

A warning holds no deployment: latencies depend on other users of the machine, and live traffic soon corrects the
router's predictions. A run is compared with the run before, if that had the same work. A warning needs a mean latency
that rose by more than a fifth, or an error rate that rose by more than five points. The interval of the difference must
be above 0.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.metadata import version

from slo_bench.gate.alerts import Alert
from slo_bench.gate.comparison import HIGH, LOW, compare, is_same_work
from slo_bench.gate.entry import Entry
from slo_bench.load.plan import Limits
from slo_bench.summary.results import CellResult
from slo_router.contract.intervals import Interval

SLOWER = 1.2  # times as long
MORE_ERRORS = 0.05
_WATCHED = ("ttft_mean_s", "tpot_mean_s", "e2e_mean_s")
_KEPT = ("mean", "p50", "p95")


def latency_entry(result: CellResult, limits: Limits) -> Entry:
    """A measured cell's entry in the history: figures with the bounds of their intervals, no text."""
    stats, facts = result.stats, result.cell.facts
    figures: dict[str, float] = {}
    for name, spread in {"ttft": stats.ttft, "tpot": stats.tpot, "itl": stats.itl, "e2e": stats.e2e}.items():
        if spread is not None:
            for kept in _KEPT:
                _put(figures, f"{name}_{kept}_s", spread.value_s(kept), spread.intervals.get(kept))
    _put(figures, "error_rate", stats.error_rate, stats.error_rate_interval)
    _put(figures, "throughput_tps", stats.throughput_tps)
    _put(figures, "goodput_rps", stats.goodput_rps)
    _put(figures, "cost_per_1k_usd", result.cost_per_1k_usd)
    return Entry(
        kind="latency",
        at_s=result.ended_at_s,
        deployment=facts.deployment_id,
        model=facts.model,
        category=result.cell.category,
        n=stats.requests,
        figures=figures,
        fingerprint=fingerprint(result, limits),
        agent_version=version("litellm-slo-router"),
    )


def fingerprint(result: CellResult, limits: Limits) -> str:
    """A hash of the work: the prompts and how they are sent, but not the deployment. It reveals no text."""
    prompts = [[prompt.max_tokens, list(prompt.messages)] for prompt in result.cell.prompts]
    how = None if limits.arrivals else limits.concurrency, limits.arrivals
    return sha256(json.dumps([prompts, how], sort_keys=True, default=list).encode()).hexdigest()[:16]


def slowdowns(before: Entry, after: Entry) -> list[Alert]:
    """Alerts on figures that got worse between two runs; none where the work differs."""
    if not is_same_work(before, after):
        return []
    rows = {row.figure: row for row in compare(before, after) if row.low is not None and row.low > 0}
    worse = [rows[name] for name in _WATCHED if name in rows and rows[name].b > SLOWER * rows[name].a]
    worse += [row for row in rows.values() if row.figure == "error_rate" and row.difference > MORE_ERRORS]
    return [
        Alert(
            at_s=after.at_s,
            kind="latency",
            deployment=after.deployment,
            model=after.model,
            category=after.category,
            figure=row.figure,
            n=after.n,
            before=row.a,
            after=row.b,
            low=row.low,
            high=row.high,
            baseline_at_s=before.at_s,
        )
        for row in worse
    ]


def _put(figures: dict[str, float], name: str, value: float | None, interval: Interval | None = None) -> None:
    if value is not None:
        figures[name] = value
        if interval is not None:
            figures |= {name + LOW: interval.low, name + HIGH: interval.high}
