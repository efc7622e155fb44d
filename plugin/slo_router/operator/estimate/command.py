"""`slo-router estimate`: what routing would have saved on what a proxy already served, before anything is installed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from slo_router.contract.model import CATEGORIES, Metrics
from slo_router.contract.redis.link import is_usable, masked
from slo_router.contract.units import minute
from slo_router.decision.known import NOT_JUDGED
from slo_router.errors import SettingsError
from slo_router.operator.commands.measured import linked, read_measured
from slo_router.operator.commands.observer import observe
from slo_router.operator.commands.terminal import (
    AsJson,
    console,
    make_table,
    percent,
    print_json,
    problems,
    remarks,
    usd,
    writing,
)
from slo_router.operator.estimate.candidates import Pool, read_pool, with_models
from slo_router.operator.estimate.estimate import Estimate
from slo_router.operator.estimate.evidence import Evidence, Measured, Quality
from slo_router.operator.estimate.notes import Asked
from slo_router.operator.estimate.outcomes import read_outcomes
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.reading.tasks import Tasks
from slo_router.operator.estimate.reading.traffic import Selection, Traffic
from slo_router.operator.estimate.show.page import as_html
from slo_router.operator.estimate.show.tables import settles, tables
from slo_router.operator.estimate.summary import Source, Summary
from slo_router.operator.estimate.totals import Totals
from slo_router.operator.estimate.what_if import WhatIf
from slo_router.quality.posterior import Belief
from slo_router.worker.snapshot import MetricsStore

MOST_ROWS = 12  # of a table in the terminal
TELL_EVERY = 20_000  # rows
URL_VARIABLE = "DATABASE_URL"  # LiteLLM's own

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help="postgresql://… of LiteLLM's database, or files: an export of LiteLLM_SpendLogs (CSV, JSON, JSONL, "
        "Parquet), the answer of /spend/logs, or our request records. Without one, the environment's DATABASE_URL.",
    ),
]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--candidate",
        help="Who could answer instead: a group or deployment of --config, a model that LiteLLM knows the price of, or "
        "NAME=0.15/0.60 with USD per million tokens. Repeat it. Without: all of --config, else the models in the rows.",
    ),
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="The proxy's YAML: groups, prices, qualities.")]
RedisUrl = Annotated[str | None, typer.Option("--redis", help="Where the benchmark wrote its graded qualities.")]
OutcomesFile = Annotated[
    Path | None,
    typer.Option("--outcomes", help="A table of graded answers: category, score::MODEL, outtok::MODEL."),
]
Keep = Annotated[
    float, typer.Option(min=0.01, max=1.0, help="Share of the present quality that must be kept, without min_quality.")
]
Confidence = Annotated[float, typer.Option(min=0.55, max=0.999, help="Of the bound that graded answers must clear.")]
Since = Annotated[str | None, typer.Option("--since", help="30d, 12h or a date. Default: a database 30d, a file all.")]
Until = Annotated[str | None, typer.Option("--until", help="Likewise; what began then or later is left out.")]
Group = Annotated[str | None, typer.Option("--group", help="Only this model name that clients call.")]
KeyAlias = Annotated[str | None, typer.Option("--key-alias", help="Only this virtual key.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many rows: a database's newest, a file's first.")]
Categorized = Annotated[
    bool,
    typer.Option(
        "--categorize",
        help="Also read the prompts and tags that the proxy kept, tell each one's task here as its group in --config "
        "does (else by the built-in rules), and forget them.",
    ),
]


def estimate(
    *,
    sources: Sources = None,
    candidate: Named = None,
    config: Config = None,
    redis: RedisUrl = None,
    outcomes: OutcomesFile = None,
    keep: Keep = 0.95,
    confidence: Confidence = 0.9,
    since: Since = None,
    until: Until = None,
    group: Group = None,
    key_alias: KeyAlias = None,
    limit: Limit = None,
    categorize: Categorized = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """What routing would have saved on traffic that a LiteLLM proxy already served. Nothing has to be installed there.

    Only reads: a database in a read-only transaction, and of each request sizes, names and cost. What another model
    would have cost is prices; whether its answers are good enough is evidence. So the answer is a range: what graded
    answers show, what the YAML states, and the most that it could be; and how many graded answers would narrow it.

    Example: slo-router estimate postgresql://reader@db/litellm --candidate gpt-4o-mini --html estimate.html
    """
    with problems():
        pool = read_pool(config, candidate or [])
        tasks = Tasks(pool.groups) if categorize else None
        selection = Selection(since, until, group, key_alias, limit)
        traffic = Traffic(_sources(sources), selection, None if tasks is None else tasks.tell)
        graded = None if outcomes is None else read_outcomes(outcomes)
        totals = Totals(pool.edges)
        for row in _watched(traffic):
            totals.add(row)
        _refuse_nothing(totals, traffic)
        pool = with_models(pool, totals.models.values())
        measured = {} if redis is None else asyncio.run(_measured(redis, pool))
        evidence = Evidence(pool.groups, measured, graded, keep, confidence)
        what_if = WhatIf(totals.strata(), totals.models, pool, evidence, graded)
        notes = () if tasks is None else tuple(tasks.notes())
        told = Asked(keep, confidence, bool(measured) or graded is not None, notes)
        made = Summary(totals, what_if, pool).estimate(Source(traffic.name, traffic.broken), told)
    if as_json:
        print_json(asdict(made))
    else:
        _print(made)
    if html is not None:
        with writing(html):
            html.write_text(as_html(made), encoding="utf-8")


def _refuse_nothing(totals: Totals, traffic: Traffic) -> None:
    if not totals.rows:
        raise SettingsError(
            f"{traffic.name}: no row of this period, group and key in {traffic.read:,} that were read, expected some: "
            "see --since, --until, --group and --key-alias"
        )


def _sources(given: list[str] | None) -> list[str]:
    found = given or [url for url in [os.environ.get(URL_VARIABLE)] if url]
    if not found:
        raise SettingsError(
            f"nothing to read: expected postgresql://… of LiteLLM's database (or {URL_VARIABLE}), or a file"
        )
    return found


def _watched(rows: Iterable[Row]) -> Iterator[Row]:
    """Passes the rows on, and shows on a terminal how many were read."""
    with remarks.status("reading …") as status:
        for number, row in enumerate(rows, 1):
            if number % TELL_EVERY == 0:
                status.update(f"read {number:,} rows")
            yield row


async def _measured(url: str, pool: Pool) -> Measured:
    """The benchmark's qualities of the candidates and of the YAML's deployments. Raises SettingsError."""
    if not is_usable(url):
        raise SettingsError(f"--redis: {masked(url)}, expected redis://…")
    names = {one.facts.deployment_id for one in pool.candidates} | pool.deployments.keys()
    store, judged = MetricsStore("" if pool.settings is None else pool.settings.plugin.key_prefix), NOT_JUDGED
    if pool.settings is not None:
        here = pool.settings.plugin.model_copy(update={"redis_url": url})
        settings = replace(pool.settings, plugin=here)
        judged = observe(settings, await read_measured(settings)).judged
    async with linked(url) as client:
        tasks = {name for group in pool.groups.values() for name in group.known_categories}
        await store.refresh(client, sorted(names), sorted(tasks | set(CATEGORIES)))
    return {
        (name, task): quality
        for name, by_task in store.snapshot.measured.items()
        for task, metrics in by_task.items()
        if (quality := _quality(metrics, judged.get(name, {}).get(task))) is not None
    }


def _quality(metrics: Metrics, belief: Belief | None) -> Quality | None:
    score, answers = metrics.quality_score, metrics.quality_n
    if score is None or not answers:
        return None
    if metrics.quality_held:  # it dropped, so no floor is passed
        return Quality(score, answers, 0.0)
    if belief is not None and belief.typed == belief.bound == belief.mean:  # too few answers: the typed number stands
        return Quality(belief.mean)
    return Quality(score, answers, None if belief is None else belief.bound)


def _print(made: Estimate) -> None:
    console.print(
        f"[bold]{made.requests:,} requests[/] of {made.rows:,} rows, {minute(made.first_s)} to {minute(made.last_s)} "
        f"UTC: {usd(made.spent_usd)} spent",
        highlight=False,
    )
    if made.requests:
        shown, stated, most = (percent(one.saved_share) for one in made.savings)
        console.print(
            f"routing would have saved [bold]{shown} to {most}[/] of it: {shown} is shown by graded answers, {stated} "
            f"with what is stated, {most} at most",
            highlight=False,
        )
        console.print(settles(made), highlight=False, markup=False)
    for title, columns, rows in tables(made):
        table = make_table(title, *columns)
        if len(rows) > MOST_ROWS:
            table.caption = f"{len(rows) - MOST_ROWS} more; --json has all"
        for row in rows[:MOST_ROWS]:
            table.add_row(*map(escape, row))
        console.print(table)
    for note in (*made.assumptions, f"The interval: {made.interval_basis}."):
        console.print(f"· {note}", highlight=False, markup=False)
    if made.broken:
        console.print(f"· {made.broken:,} rows could not be read and were skipped.")
