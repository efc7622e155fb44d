"""`slo-router status`: the router's present state, from what the benchmark and the workers have put into Redis."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from types import FrameType
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live as Screen
from rich.markup import escape
from rich.table import Table

from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.measured import Measured, read_measured
from slo_router.operator.commands.observer import seen_now
from slo_router.operator.commands.running import running
from slo_router.operator.commands.terminal import (
    DEFAULT_CONFIG,
    UNKNOWN,
    AsJson,
    Config,
    console,
    make_table,
    number,
    percent,
    print_json,
    problems,
    redis_of,
    span,
    usd,
)
from slo_router.operator.drift.drift import drift_of
from slo_router.operator.drift.mix import Mix
from slo_router.operator.replay.counterfactual import NO_MONEY
from slo_router.operator.reporting.graded import answers_in_words
from slo_router.operator.reporting.journal import Journal, Selection, newest_stream_lines
from slo_router.operator.reporting.present import Paired, Status, attained, describe
from slo_router.operator.reporting.tally import Tallies
from slo_router.worker.pairing.comparisons import Control

LATEST = 500  # records; as many before them say whether the mix of tasks has changed


def status(
    *,
    config: Config = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh it until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows load, circuits, expected latency and its evidence for every deployment, and the last requests' share.

    It says where the last 500 requests have another mix of tasks than the 500 before, by more than chance, and whose
    quality fell.

    Example: slo-router status --watch
    """
    with problems(warn=False):  # the status shows the number of dropped values instead
        settings = load_settings(config)
        if as_json:
            print_json(asdict(_read(settings)))
        elif not watch:
            console.print(_shown(_read(settings)))
        else:
            _watch(settings)


def _watch(settings: Settings) -> None:
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with Screen(_shown(_read(settings)), console=console, auto_refresh=False) as screen:
            while True:
                time.sleep(settings.plugin.refresh_interval_s)
                screen.update(_shown(_read(settings)), refresh=True)
    except KeyboardInterrupt:
        return


def _interrupt(_: int, __: FrameType | None) -> None:
    """Also ends a running event loop. asyncio's own reaction to Ctrl-C, one cancellation, can get lost in a library."""
    raise KeyboardInterrupt


def _read(settings: Settings) -> Status:
    if settings.plugin.redis_url is None:
        raise SettingsError("no redis_url in the YAML: what the workers see stays in their memory")
    live = running(settings)
    settings = live.settings
    measured = asyncio.run(read_measured(settings))
    with redis_of(settings) as client:
        tallies, mix, length = Tallies(), Mix(), 0
        if client is not None:
            stream = settings.plugin.key_prefix + REQUESTS_STREAM
            length = int(client.xlen(stream))
            for record in Journal(islice(newest_stream_lines(client, stream), 2 * LATEST), Selection()):
                if tallies.total.requests < LATEST:
                    tallies.add(record, NO_MONEY)
                mix.see(record)
    seen = seen_now(settings, measured, tallies, time.time())
    return Status(
        policy=settings.plugin.policy,
        workers=len(measured.exports),
        stream_length=length,
        recent=tallies.total.requests,
        recent_judged=tallies.total.met + tallies.total.missed,
        recent_attainment=attained(tallies.total),
        last_record_age_s=max(seen.now_s - tallies.last_s, 0.0) if tallies.total.requests else None,
        dropped_values=measured.dropped_values,
        deployments=tuple(describe(one.facts.deployment_id, one.group, seen) for one in settings.deployments),
        off=tuple(sorted(live.off)),
        worths_usd=dict(seen.worths_usd),
        notes=live.notes,
        paired=tuple(_paired(settings, measured)),
        drift=drift_of(mix, seen.judged, measured.snapshot, seen.now_s),
    )


def _paired(settings: Settings, measured: Measured) -> Iterator[Paired]:
    groups = {one.facts.deployment_id: one.group for one in settings.deployments}
    for name, group in settings.plugin.groups.items():
        asked = group.shadow_evaluation
        if asked is not None:
            total = sum(row.total for row in measured.pairs if groups.get(row.one) == name)
            control = Control() if asked.judge is None else measured.controls.get(asked.judge, Control())
            spent_usd = measured.paired_usd.get(name, 0.0)
            yield Paired(name, asked.judge, asked.grader, spent_usd, asked.usd_per_day, total, *control)


def _shown(found: Status) -> RenderableType:
    age = UNKNOWN if found.last_record_age_s is None else f"{span(found.last_record_age_s)} ago"
    kept = percent(found.recent_attainment)
    lines = [
        f"policy {found.policy}, {found.workers} workers, {found.stream_length:,} records, the last {age}",
        f"SLO kept by {kept} of {found.recent_judged:,} judged of the last {found.recent:,}",
    ]
    lines += [f"· {escape(note)}" for note in found.notes]
    lines += [f"! {escape(line)}" for line in found.drift.lines()]
    if found.off:
        lines.append(f"switched off, so that LiteLLM alone routes: {escape(', '.join(found.off))}")
    lines += [f"{escape(name)}: a quality of 1 is worth {usd(worth)}" for name, worth in found.worths_usd.items()]
    if found.dropped_values:
        lines.append(f"{found.dropped_values} impossible values in Redis are ignored: slo-router check")
    table = make_table(
        "Now, for a prompt of 1,000 tokens",
        *("group", "deployment", ">in flight", "circuit", ">TTFT p50/p95", ">per token", "live evidence"),
        *("benchmarked", ">recent share", ">SLO kept"),
    )
    for one in found.deployments:
        live = "none" if one.live_age_s is None else f"{one.live_samples:.0f} samples, {span(one.live_age_s)} old"
        oldest = max(one.benchmarked.values(), default=None)
        table.add_row(
            one.group,
            one.name,
            number(one.in_flight),
            one.circuit if one.quota_left is None else f"{one.circuit}, {percent(one.quota_left)} of its quota left",
            f"{number(one.ttft_p50_ms)}/{number(one.ttft_p95_ms)} ms",
            f"{number(one.tpot_ms, 1)} ms",
            live,
            "never" if oldest is None else f"{len(one.benchmarked)} categories, {span(oldest)} old",
            percent(one.recent_share),
            percent(one.recent_attainment),
        )
    more = [_qualities(found)] if any(one.quality for one in found.deployments) else []
    return Group(*lines, table, *more, *([_comparisons(found)] if found.paired else []))


def _comparisons(found: Status) -> Table:
    columns = ("group", ">comparisons", ">USD today", ">at most", "judge", ">own pairs: first", ">second", ">tie")
    table = make_table(
        "Shadow evaluation; a fair judge prefers the first of a deployment's own pairs as the second", *columns
    )
    for one in found.paired:
        verdicts = one.control_first, one.control_second, one.control_tie
        shares = (percent(count / sum(verdicts), 0) if sum(verdicts) else UNKNOWN for count in verdicts)
        spent = number(one.spent_usd, 4), number(one.usd_per_day, 2)
        tells = ", ".join(filter(None, (one.grader, one.judge)))
        table.add_row(one.group, number(one.comparisons), *spent, tells, *shares)
    return table


def _qualities(found: Status) -> Table:
    columns = ("deployment", "category", ">mean", ">at least", ">sure to", "graded answers", ">newest", ">typed")
    table = make_table("Quality, where answers were graded", *columns)
    for one in found.deployments:
        for category, graded in one.quality.items():
            table.add_row(
                *(one.name, category, number(graded.mean, 3), number(graded.bound, 3)),
                percent(graded.bound_confidence, 0),
                answers_in_words(graded.answers),
                UNKNOWN if graded.newest_age_s is None else f"{span(graded.newest_age_s)} old",
                number(graded.typed, 3),
            )
    return table
