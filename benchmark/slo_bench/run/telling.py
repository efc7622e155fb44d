"""The printed plan of a run and its cost, before and after the run."""

from __future__ import annotations

from collections.abc import Iterator
from time import gmtime, strftime

from rich.table import Table

from slo_bench.load.arrivals import rate_of
from slo_bench.run.estimate import ASSUMED_ANSWER, ASSUMED_TPOT_S, ASSUMED_TTFT_S, Expected
from slo_bench.run.order import Forecast, Order, Outcome
from slo_bench.run.progress import minutes
from slo_bench.summary.figures import number, table


def forecast_table(order: Order, forecast: Forecast) -> Table:
    """One line per deployment, and the total."""
    total = forecast.coming.total
    made = table("deployment", "categories", ">requests", ">tokens", ">minutes", ">USD", "known from")
    for row in forecast.coming.rows:
        made.add_row(row.deployment_id, ", ".join(row.categories), *_cells(row.expected), ", ".join(row.bases))
    for skipped in order.plan.skipped:
        made.add_row(skipped.deployment_id, f"not measured: {skipped.reason}")
    if forecast.so_far.usd or forecast.so_far.seconds >= 1:
        made.add_row("first requests", "", "", "", f"{forecast.so_far.seconds / 60:.1f}", _usd(forecast.so_far.usd))
    made.add_section()
    made.add_row("in all", "", *_cells(total._replace(seconds=forecast.seconds, usd=forecast.usd)))
    return made


def heading(order: Order) -> str:
    """How the requests are sent, and the run's limits."""
    limits = order.limits
    apart = "all deployments at once" if limits.parallel else "one deployment after another"
    budget = "" if order.terms.budget_usd is None else f" and {order.terms.budget_usd:g} USD"
    rate = rate_of(limits.arrivals or ())
    load = f"{limits.concurrency} in flight" if rate is None else f"{rate:.3g} per second"
    return (
        f"{order.plan.requests} requests, {load} per deployment, {apart}, at most "
        f"{limits.total_s / 60:g} minutes{budget}"
    )


def warnings(order: Order, forecast: Forecast) -> Iterator[str]:
    """Warnings before the run starts."""
    budget_usd, total_s = order.terms.budget_usd, order.limits.total_s
    if any("assumed" in row.bases for row in forecast.coming.rows):
        yield (
            f"assumed: a first token after {ASSUMED_TTFT_S:g} s, then {1 / ASSUMED_TPOT_S:.0f} tokens per second, and "
            f"{ASSUMED_ANSWER:.0%} of max_tokens, for nothing was measured yet; a run sends a few requests first"
        )
    unpriced = [row.deployment_id for row in forecast.coming.rows if row.expected.usd is None]
    if unpriced:
        yield f"no price is known of {', '.join(unpriced)}: its cost is not counted"
    if forecast.seconds > total_s:
        yield f"it would take {minutes(forecast.seconds)}, and it ends after {minutes(total_s)}: see --max-minutes"
    if budget_usd is not None and forecast.usd is not None and forecast.usd > budget_usd:
        yield f"it would take {forecast.usd:.4g} USD, and it ends at {budget_usd:g} USD: see --budget-usd"


def closing(outcome: Outcome) -> Iterator[str]:
    """Lines on the outcome of the plan."""
    for (deployment_id, category), done in outcome.finished.items():
        at = strftime("%H:%M", gmtime(done.ended_at_s))
        yield f"{deployment_id} {category}: measured at {at} UTC by the interrupted run; --fresh measures it again"
    for deployment_id, notes in outcome.notes.items():
        yield from (f"{deployment_id}: {note}" for note in notes)
    yield from (reason for reason in dict.fromkeys(outcome.stopped.values()) if ": " in reason)
    spent, planned = outcome.spent, outcome.forecast
    usd = f"; {_usd(spent.usd)} USD spent, {_usd(planned.usd)} planned" if planned.usd is not None else ""
    yield f"in all {spent.seconds / 60:.1f} min taken, {planned.seconds / 60:.1f} planned{usd}"


def forecast_document(order: Order, forecast: Forecast) -> dict[str, object]:
    """The plan as JSON values."""
    rows = [
        {"deployment": row.deployment_id, "categories": list(row.categories), "known_from": list(row.bases)}
        | _document(row.expected)
        for row in forecast.coming.rows
    ]
    total = forecast.coming.total._replace(seconds=forecast.seconds, usd=forecast.usd)
    limits = {"minutes": order.limits.total_s / 60, "usd": order.terms.budget_usd}
    cells = [
        {"deployment": cell.facts.deployment_id, "category": cell.category, "requests": len(cell.prompts)}
        for cell in order.plan.cells
    ]
    return {
        "cells": cells,
        "skipped": [skipped.document() for skipped in order.plan.skipped],
        "deployments": rows,
        "total": _document(total),
        "at_most": limits,
    }


def outcome_document(outcome: Outcome) -> dict[str, object]:
    """What a run took, and why it ended early if it did, as JSON values."""
    return {
        "planned": {"minutes": outcome.forecast.seconds / 60, "usd": outcome.forecast.usd},
        "spent": {
            "minutes": outcome.spent.seconds / 60,
            "usd": outcome.spent.usd,
            "uncounted": sorted(outcome.uncounted),
        },
        "stopped": dict(outcome.stopped),
        "notes": {deployment_id: list(notes) for deployment_id, notes in outcome.notes.items()},
        "finished_before": [{"deployment": name, "category": category} for name, category in outcome.finished],
    }


def _document(expected: Expected) -> dict[str, object]:
    return {
        "requests": expected.requests,
        "tokens": round(expected.tokens),
        "minutes": round(expected.seconds / 60, 3),
        "usd": expected.usd,
    }


def _cells(expected: Expected) -> tuple[str, str, str, str]:
    minutes_taken = f"{expected.seconds / 60:.1f}"
    return f"{expected.requests:,}", f"{expected.tokens:,.0f}", minutes_taken, _usd(expected.usd)


def _usd(usd: float | None) -> str:
    return number(usd, ".4f")
