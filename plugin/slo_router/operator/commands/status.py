"""`slo-router status`: what the router sees now, from what the benchmark and the workers have put into Redis."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import asdict
from itertools import islice
from types import FrameType
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live as Screen
from rich.markup import escape

from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.measured import read_measured
from slo_router.operator.commands.observer import observe
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
)
from slo_router.operator.replay.counterfactual import NO_MONEY
from slo_router.operator.reporting.journal import Journal, Selection, newest_stream_lines
from slo_router.operator.reporting.present import Seen, Status, attained, describe
from slo_router.operator.reporting.tally import Tallies

LATEST = 500  # records


def status(
    *,
    config: Config = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Load, circuits, expected latency and its evidence for every deployment, and where the last requests went.

    Example: slo-router status --watch
    """
    with problems(warn=False):  # their number is shown
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
    """Leaves an event loop, too; a single cancellation, as asyncio has it for Ctrl-C, can get lost in a library."""
    raise KeyboardInterrupt


def _read(settings: Settings) -> Status:
    if settings.plugin.redis_url is None:
        raise SettingsError("no redis_url in the YAML: what the workers see stays in their memory")
    live = running(settings)
    settings = live.settings
    measured = asyncio.run(read_measured(settings))
    with redis_of(settings) as client:
        tallies, length = Tallies(), 0
        if client is not None:
            stream = settings.plugin.key_prefix + REQUESTS_STREAM
            length = int(client.xlen(stream))
            for record in Journal(islice(newest_stream_lines(client, stream), LATEST), Selection()):
                tallies.add(record, NO_MONEY)
    states = observe(settings, measured).live.states
    seen = Seen(measured.snapshot, states, tallies, time.time())
    return Status(
        policy=settings.plugin.policy,
        workers=len(measured.exports),
        stream_length=length,
        recent=tallies.total.requests,
        recent_attainment=attained(tallies.total),
        last_record_age_s=max(seen.now_s - tallies.last_s, 0.0) if tallies.total.requests else None,
        dropped_values=measured.dropped_values,
        deployments=tuple(describe(one.facts.deployment_id, one.group, seen) for one in settings.deployments),
        off=tuple(sorted(live.off)),
        notes=live.notes,
    )


def _shown(found: Status) -> RenderableType:
    age = UNKNOWN if found.last_record_age_s is None else f"{span(found.last_record_age_s)} ago"
    lines = [
        f"policy {found.policy}, {found.workers} workers, {found.stream_length:,} records, the last {age}",
        f"SLO kept by {percent(found.recent_attainment)} of the last {found.recent:,}",
    ]
    lines += [f"· {escape(note)}" for note in found.notes]
    if found.off:
        lines.append(f"switched off, so that LiteLLM alone routes: {escape(', '.join(found.off))}")
    if found.dropped_values:
        lines.append(f"{found.dropped_values} values in Redis cannot be true and are ignored: slo-router check")
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
    return Group(*lines, table)
