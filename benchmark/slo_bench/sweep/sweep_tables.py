"""The output of a sweep: a line for each finished step, then tables for people or JSON for programs.

Milliseconds, requests per second and tokens. Unmeasured is a dash or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from slo_bench.load.plan import Plan
from slo_bench.summary.figures import UNMEASURED, ms, number, rounded_ms, table
from slo_bench.summary.lag import MAX_P99_S
from slo_bench.sweep.climbing import Judged, knee
from slo_bench.sweep.course import Grid, Swept
from slo_router.contract.latency_fit import write_fit
from slo_router.contract.model import LatencyFit
from slo_router.contract.units import MS_PER_S


def heading(plan: Plan, grid: Grid, total_s: float, budget_usd: float | None) -> str:
    """The sweep's plan and limits."""
    deployments, lengths = len(plan.by_deployment()), ", ".join(map(str, grid.lengths))
    most = f"{total_s / 60:g} minutes" + ("" if budget_usd is None else f" and {budget_usd:g} USD")
    return (
        f"{deployments} deployments, one after another, with prompts of {lengths} tokens at rates that rise until they "
        f"are saturated, {grid.step_s:g} s of sending each: at most {most}"
    )


def progress_line(swept: Swept, judged: Judged) -> str:
    """One step, for the log."""
    found = judged.figures
    return (
        f"{swept.deployment_id} · {judged.step.length} tokens · {_rate(judged)}: {found.served_per_s:.3g}/s answered, "
        f"TTFT p50 {ms(found.ttft_p50_s)} ms, {found.attained:.0%} kept the SLO"
        + (f"; saturated: {judged.saturated}" if judged.saturated else "")
    )


def step_table(found: Sequence[Swept]) -> Table:
    """One line per step, by length and rate."""
    columns = (
        *(">prompt", ">rate", ">answered/s", ">in flight", ">TTFT p50", ">p95", ">TPOT p50", ">SLO kept", ">goodput/s"),
        "saturated",
    )
    made = table("deployment", *columns, title="Steps, latencies in ms")
    for swept in found:
        for one in _ordered(swept):
            numbers = one.figures
            made.add_row(
                swept.deployment_id,
                str(one.step.length),
                _rate(one),
                f"{numbers.served_per_s:.3g}",
                f"{numbers.in_flight:.1f}",
                *map(ms, (numbers.ttft_p50_s, numbers.ttft_p95_s, numbers.tpot_p50_s)),
                f"{numbers.attained:.0%}",
                f"{numbers.goodput_per_s:.3g}",
                one.saturated or "",
            )
    return made


def knee_table(found: Sequence[Swept]) -> Table:
    """The highest rate at which the SLO was kept, per deployment and length."""
    columns = (">prompt", ">rate", ">goodput/s", ">output tok/s", ">TTFT p95")
    made = table("deployment", *columns, title="Goodput knee: the highest rate that keeps the SLO")
    for swept in found:
        for length, best in _knees(swept):
            if best is None:
                made.add_row(swept.deployment_id, str(length), "none", *[UNMEASURED] * 3)
                continue
            numbers = best.figures
            row = f"{numbers.goodput_per_s:.3g}", number(_tokens_per_s(best), ".4g"), ms(numbers.ttft_p95_s)
            made.add_row(swept.deployment_id, str(length), _at_least(swept, best) + _rate(best), *row)
    return made


def fit_table(found: Sequence[Swept]) -> Table:
    """The fitted lines with their errors."""
    title = "Fit: TTFT = a + b·prompt tokens + c·in flight + k·(in flight beyond the knee), TPOT = d + e·in flight; ms"
    columns = (">a", ">b", ">c", ">k", ">knee", ">d", ">e", ">TTFT error", ">R²", ">TPOT error", ">R²", ">n")
    made = table("deployment", *columns, title=title)
    for swept in found:
        fit = swept.fit
        if fit is None:
            made.add_row(swept.deployment_id, "too little was measured")
            continue
        seconds = (fit.a_s, fit.b_s_per_token, fit.c_s_per_request, fit.k_s_per_request)
        made.add_row(
            swept.deployment_id,
            *(f"{value * MS_PER_S:.3g}" for value in seconds),
            f"{fit.knee:g}" if fit.knee else UNMEASURED,
            *(f"{value * MS_PER_S:.3g}" for value in (fit.d_s, fit.e_s_per_request)),
            *(f"{fit.ttft_error:.0%}", f"{fit.ttft_r2:.2f}", f"{fit.tpot_error:.0%}", f"{fit.tpot_r2:.2f}"),
            str(fit.samples),
        )
    return made


def remarks(plan: Plan, found: Sequence[Swept]) -> Iterator[str]:
    """What the tables do not show."""
    for skipped in plan.skipped:
        yield f"{skipped.deployment_id}: not swept: {skipped.reason}"
    for swept in found:
        name = swept.deployment_id
        yield from (f"{name}: {note}" for note in swept.notes)
        if swept.too_long:
            yield f"{name}: not swept at {', '.join(map(str, swept.too_long))} tokens: its context is too short"
        if swept.ended_early is not None:
            yield f"{name}: not swept to its end: {swept.ended_early}"
        if swept.published is False:
            yield f"{name}: the fit was not written: Redis did not take it"
        late = [one for one in swept.judged if one.figures.lag is not None and not one.figures.lag.is_trusted]
        if late:
            most_s = max(one.figures.lag.p99_s for one in late if one.figures.lag is not None)
            yield (
                f"{name}: {len(late)} of {len(swept.judged)} steps are not to be trusted: this machine sent up to "
                f"{most_s * MS_PER_S:.0f} ms late (p99, limit {MAX_P99_S * MS_PER_S:.0f} ms)"
            )


def document(plan: Plan, found: Sequence[Swept]) -> dict[str, object]:
    """Everything as JSON values."""
    return {
        "sweeps": [
            {
                "deployment": swept.deployment_id,
                "slo_ms": {name: rounded_ms(value) for name, value in zip(_SLO, swept.slo, strict=False)},
                "steps": [_step_document(one) for one in _ordered(swept)],
                "knees": [
                    {"prompt_tokens": length, "step": None if best is None else _step_document(best)}
                    for length, best in _knees(swept)
                ],
                "fit": None if swept.fit is None else _fit_document(swept.fit),
                "ended_early": swept.ended_early,
                "notes": list(swept.notes),
                "published": swept.published,
            }
            for swept in found
        ],
        "skipped": [one.document() for one in plan.skipped],
    }


_SLO = ("ttft_ms", "tpot_ms", "e2e_ms")


def _step_document(one: Judged) -> dict[str, object]:
    found = one.figures
    return {
        "prompt_tokens": one.step.length,
        "measured_prompt_tokens": found.prompt_tokens,
        "rate": one.step.asked_per_s,
        "requests": one.step.planned,
        "offered_rps": found.offered_per_s,
        "answered_rps": found.served_per_s,
        "in_flight": found.in_flight,
        "ttft_ms": {"p50": rounded_ms(found.ttft_p50_s), "p95": rounded_ms(found.ttft_p95_s)},
        "tpot_ms": {"p50": rounded_ms(found.tpot_p50_s)},
        "e2e_ms": {"p50": rounded_ms(found.e2e_p50_s)},
        "errors": found.errors,
        "slo_attainment": found.attained,
        "goodput_rps": found.goodput_per_s,
        "saturated": one.saturated,
        "send_lag_ms": None if found.lag is None else found.lag.document(),
    }


def _fit_document(fit: LatencyFit) -> dict[str, float]:
    return {name: float(value) for name, value in write_fit(fit).items()}


def _ordered(swept: Swept) -> list[Judged]:
    return sorted(swept.judged, key=lambda one: (one.step.length, one.step.asked_per_s))


def _knees(swept: Swept) -> list[tuple[int, Judged | None]]:
    lengths = sorted({one.step.length for one in swept.judged})
    return [(length, knee([one for one in swept.judged if one.step.length == length])) for length in lengths]


def _at_least(swept: Swept, best: Judged) -> str:
    """`≥ ` for a rate beyond which no rate was tried, else empty."""
    rates = [one.step.asked_per_s for one in swept.judged if one.step.length == best.step.length]
    return "≥ " if best.step.asked_per_s == max(rates) else ""


def _tokens_per_s(one: Judged) -> float | None:
    counts = [sent.sample.completion_tokens for sent in one.step.sent if sent.sample.error is None]
    known = [count for count in counts if count is not None]
    return sum(known) / one.step.wall_s if known and len(known) == len(counts) else None


def _rate(one: Judged) -> str:
    return f"{one.step.asked_per_s:.3g}/s" if one.step.asked_per_s else "1 at a time"
