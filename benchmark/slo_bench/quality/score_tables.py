"""What `slo-bench quality` prints: scores and differences, as tables for people or JSON for programs.

Scores lie in 0..1. No text of a prompt or an answer appears anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from slo_bench.quality.plan import QualityPlan
from slo_bench.quality.runner import Found
from slo_bench.quality.scores import ENOUGH, CellScores, PairDifference
from slo_bench.summary.figures import UNMEASURED, number, table
from slo_router.contract.intervals import Interval


def plan_table(plan: QualityPlan) -> Table:
    """One line per cell."""
    title = f"{plan.questions} answers: {len(plan.items)} items to {len(plan.respondents)} deployments"
    made = table("deployment", "model", "category", "items", title=title)
    for cell in plan.cells:
        made.add_row(cell.deployment_id, cell.model, cell.category, str(cell.planned))
    for skipped in plan.skipped:
        made.add_row(skipped.deployment_id, f"not asked: {skipped.reason}")
    return made


def plan_document(plan: QualityPlan) -> dict[str, object]:
    """The plan as JSON values."""
    cells = [{"deployment": c.deployment_id, "category": c.category, "items": c.planned} for c in plan.cells]
    return {"cells": cells, "skipped": [one.document() for one in plan.skipped], "remarks": list(plan.remarks)}


def score_table(cells: Sequence[CellScores]) -> Table:
    """One line per cell."""
    columns = (">score", ">95 % interval", ">graded", ">of", ">cut", ">not graded", "against the last good runs")
    made = table("deployment", "category", *columns, title="Quality, 0 to 1")
    for cell in cells:
        made.add_row(
            cell.deployment_id,
            cell.category,
            number(cell.mean, ".3f"),
            _between(cell.interval),
            str(cell.n),
            str(cell.planned),
            str(cell.cut),
            ", ".join(f"{count} {name}" for name, count in cell.problems.items()) or "0",
            cell.verdict or UNMEASURED,
        )
    return made


def difference_table(differences: Sequence[PairDifference]) -> Table:
    """Each deployment against the best of its category; JSON has all pairs."""
    title = "Differences on the same items, 95 % for all of a category"
    columns = (">items", ">difference", ">interval", ">told apart")
    made = table("category", "best", "other", *columns, title=title)
    best: dict[str, str] = {}
    for one in differences:
        if one.first == best.setdefault(one.category, one.first):
            apart = "yes" if one.told_apart else "no"
            interval = _between(one.interval, "+.3f")
            made.add_row(one.category, one.first, one.second, str(one.n), f"{one.mean:+.3f}", interval, apart)
    return made


def remarks(plan: QualityPlan, found: Found) -> list[str]:
    """What the tables do not show."""
    lines = [f"{skipped.deployment_id}: not asked: {skipped.reason}" for skipped in plan.skipped]
    lines.extend(plan.remarks)
    if found.stopped is not None:
        lines.append(f"{found.stopped}; run it again to continue: the answers so far are kept")
    lines.extend(f"{name}: {note}" for name, notes in found.notes.items() for note in notes)
    lines.extend(line for cell in found.cells for line in _shortfall(cell))
    lines.extend(alert.line() for alert in found.alerts)
    unpriced = f" without {', '.join(sorted(found.uncounted))}: no price is known" if found.uncounted else ""
    spent = f"{found.spent_usd:.4f} USD{unpriced}"
    lines.append(f"{found.sent} requests sent, {found.kept} answers known already, {spent}")
    return lines


def _shortfall(cell: CellScores) -> list[str]:
    name = f"{cell.deployment_id} {cell.category}"
    excused = [f"{name}: {count} items not graded, because: {why}" for why, count in cell.excuses.items()]
    return [*excused, *_unwritten(cell, name)]


def _unwritten(cell: CellScores, name: str) -> list[str]:
    missing = ""
    if cell.unfinished:
        missing = f", {cell.unfinished} were not reached"
    if not cell.publishable:
        return [f"{name}: not written: {cell.n} of {cell.planned} items graded, expected {ENOUGH:.0%}{missing}"]
    if cell.published is False:
        return [f"{name}: not written: Redis did not take it"]
    return [f"{name}: {cell.n} of {cell.planned} items graded{missing}"] if missing else []


def document(plan: QualityPlan, found: Found, differences: Sequence[PairDifference]) -> dict[str, object]:
    """The results as JSON values."""
    return {
        "results": [_cell_document(cell) for cell in found.cells],
        "differences": [_difference_document(one) for one in differences],
        "skipped": [one.document() for one in plan.skipped],
        "remarks": list(plan.remarks),
        "alerts": [asdict(alert) for alert in found.alerts],
        "stopped": found.stopped,
        "notes": {name: list(notes) for name, notes in found.notes.items()},
        "requests_sent": found.sent,
        "answers_kept": found.kept,
        "spent_usd": found.spent_usd,
    }


def _cell_document(cell: CellScores) -> dict[str, object]:
    return {
        "deployment": cell.deployment_id,
        "model": cell.model,
        "category": cell.category,
        "suite": cell.fingerprint,
        "quality_score": cell.mean,
        "interval": cell.interval,
        "quality_n": cell.n,
        "planned": cell.planned,
        "cut": cell.cut,
        "problems": dict(cell.problems),
        "problems_because": dict(cell.excuses),
        "unfinished": cell.unfinished,
        "answered_at": cell.answered_at_s,
        "published": cell.published,
        "verdict": cell.verdict,
        "scores": dict(cell.scores),
    }


def _difference_document(one: PairDifference) -> dict[str, object]:
    return {
        "category": one.category,
        "first": one.first,
        "second": one.second,
        "n": one.n,
        "difference": one.mean,
        "interval": one.interval,
        "told_apart": one.told_apart,
    }


def _between(interval: Interval | None, form: str = ".3f") -> str:
    return UNMEASURED if interval is None else f"{interval.low:{form}} to {interval.high:{form}}"
