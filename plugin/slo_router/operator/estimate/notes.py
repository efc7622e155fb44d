"""Notes in words: which requests are in no comparison, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from slo_router.operator.estimate.candidates import Pool
from slo_router.operator.estimate.lengths import SPREAD
from slo_router.operator.estimate.reading.rows import NO_TASK
from slo_router.operator.estimate.totals import Stratum, Sums, Totals
from slo_router.operator.estimate.what_if import WhatIf

_FATES = {
    "cache_hit": "answered by LiteLLM's cache, and would be again",
    "failed": "failed",
    "other": "embeddings, images, audio, batches and the like: not routed",
}


class Asked(NamedTuple):
    """What the command was told."""

    keep: float
    confidence: float
    is_measured: bool  # graded answers were at hand
    task_notes: tuple[str, ...] = ()  # on how tasks were told


def unmoved(totals: Totals, pool: Pool, strata: Mapping[Stratum, Sums]) -> Iterator[tuple[str, int, float | None]]:
    """Requests that are in no comparison: why, how many, and the USD paid for them (`None`: unknown)."""
    for fate, words in _FATES.items():
        if fate in totals.left:
            yield words, *totals.left[fate]
    free = {name: count for name, count in totals.without_price.items() if _is_free(name, pool)}
    if free:
        yield f"answered by {', '.join(sorted(free))}, which the YAML says is free", sum(free.values()), 0.0
    priced = {name for name in totals.without_price if pool.served(name, totals.models[name]) is not None} - free.keys()
    for names, why in ((priced, "though it has a price"), (totals.without_price.keys() - priced - free.keys(), "")):
        if names:
            models = sorted({totals.models[name] or name for name in names})
            shown = ", ".join(models[:5]) + (", …" if len(models) > 5 else "")
            count = sum(totals.without_price[name] for name in names)
            yield f"booked at nothing {why or 'for want of a price'}: {shown}", count, None
    media = [sums for stratum, sums in strata.items() if stratum.has_media]
    if media:
        requests, usd = sum(sums.requests for sums in media), sum(sums.usd for sums in media)
        yield "with images or audio: left where they were, and in the total", requests, usd


def _is_free(name: str, pool: Pool) -> bool:
    facts = pool.deployments.get(name)
    return facts is not None and facts.input_usd_per_token == 0 == facts.output_usd_per_token


def assumptions(asked: Asked, pool: Pool, what_if: WhatIf) -> tuple[str, ...]:
    """What the figures rest on, one line each."""
    strata = list(what_if.options)
    sources = {option.factor.source for options in what_if.options.values() for option in options}
    notes = [
        "What stays costs what LiteLLM booked; what moves costs its own tokens at the other model's list prices.",
        (
            f"Good enough is the group's min_quality where the YAML has one, else {asked.keep:g} × the quality of what "
            f"answers now. What graded answers show, they show with {asked.confidence:.0%} confidence."
        ),
    ]
    if "assumed" in sources:
        notes.append(
            "Where nothing tells how long another model's answers are, they are taken to be as long, and in the range "
            f"{SPREAD[0]:g} to {SPREAD[1]:g} times so. That is an assumption: an outcomes table tells."
        )
    if "learned" in sources:
        notes.append("Where a group sent requests to both models, it is taken to have sent them alike ones.")
    notes.append(
        "A conversation that moves as a whole is read from the other model's cache as often as now; at the lower end "
        "never. What writing to a cache costs extra elsewhere is not known."
    )
    if any(stratum.task == NO_TASK for stratum in strata):
        notes.append(
            "Spend logs do not say what was asked: rows of unknown task move only where that holds for every task, or "
            "for an outcomes table as a whole. --categorize tells tasks from kept prompts; our own request records and "
            "shadow mode have them."
        )
    notes += asked.task_notes
    notes.append(
        "Not judged: latency, tools, JSON schemas, images that the spend logs do not show, rate limits. The router "
        "leaves a model out that lacks them, so the real saving may be lower."
    )
    if pool.unpriced:
        notes.append(f"Without a list price, so no candidate: {', '.join(pool.unpriced)}.")
    if not pool.candidates:
        notes.append("No candidate is known: name one with --candidate, or the proxy's YAML with --config.")
    if not asked.is_measured:
        notes.append("No graded answers were at hand: --redis reads the benchmark's, --outcomes a table of them.")
    return tuple(notes)
