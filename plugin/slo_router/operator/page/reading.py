"""Reads what the page shows, anew for each view: the live state, the latest records, and one record by its id.

The live state is what the workers and the benchmark have put into Redis, as for `slo-router status`. Share and cost
come from the newest records of the request stream, as for `slo-router report`. Nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.redis.link import BlockingClient
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.measured import Measured, read_measured
from slo_router.operator.commands.observer import seen_now
from slo_router.operator.commands.terminal import redis_of
from slo_router.operator.drift.drift import drift_of
from slo_router.operator.drift.mix import Mix
from slo_router.operator.replay.counterfactual import Counterfactual
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.reporting.journal import REDIS_SKEW_S, Journal, Selection, newest_stream_lines
from slo_router.operator.reporting.lookup import find_in_stream
from slo_router.operator.reporting.present import Deployment, describe
from slo_router.operator.reporting.report import Evidence, make_report
from slo_router.operator.reporting.rows import Hour, Lines, Report
from slo_router.operator.reporting.tally import Tallies, Tally

MOST_RECORDS = 5_000  # a view sums at most this many of the newest records: 0.5 s with 50 deployments, less with fewer
POINTS = 48  # in a plot


class Source:
    """The proxy's YAML, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, Settings] | None = None

    def settings(self) -> Settings:
        """The present settings. Raises SettingsError if the file is unusable or has no `redis_url`."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            stamp = -1  # `load_settings` raises the clearer error
        if self._read is None or self._read[0] != stamp:
            settings = load_settings(self._path)
            if settings.plugin.redis_url is None:
                raise SettingsError("no redis_url in the YAML: what the workers see stays in their memory")
            self._read = stamp, settings
        return self._read[1]


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of the router. `report` sums the records of a time window, at most the newest `MOST_RECORDS`."""

    settings: Settings
    measured: Measured
    read_at_s: float  # Unix seconds
    stream_length: int
    is_cut: bool  # the window has more records than were read
    deployments: tuple[Deployment, ...]
    report: Report


class Summed(NamedTuple):
    """The sums of the latest records: in total, and by slot of time for the plots."""

    tallies: Tallies
    mix: Mix
    slots: list[Hour]
    read: int
    is_cut: bool


def read_now(settings: Settings, window_s: int) -> Now:
    """Reads the live state, and the records of the last `window_s` seconds. Raises SettingsError where Redis fails."""
    measured = asyncio.run(read_measured(settings))
    now_s = time.time()
    facts = [one.facts for one in settings.deployments]
    with _stream(settings) as (client, stream):
        length = int(client.xlen(stream))
        summed = _sum(_newest(client, stream), Counterfactual(facts), now_s - window_s, window_s)
    for one in settings.deployments:  # the table of qualities also shows deployments without requests
        for category in settings.plugin.groups[one.group].known_categories:
            summed.tallies.served[one.facts.deployment_id, category] += 0
    seen = seen_now(settings, measured, summed.tallies, now_s)
    drift = drift_of(summed.mix, seen.judged, measured.snapshot, now_s)
    report = make_report(
        summed.tallies, Lines(summed.read, 0, 0), None, facts, Evidence(measured.snapshot, seen.judged, drift)
    )
    return Now(
        settings=settings,
        measured=measured,
        read_at_s=now_s,
        stream_length=length,
        is_cut=summed.is_cut,
        deployments=tuple(describe(one.facts.deployment_id, one.group, seen) for one in settings.deployments),
        report=replace(report, hours=tuple(summed.slots)),
    )


def latest_decisions(settings: Settings, most: int, *, broken_only: bool) -> list[Recorded]:
    """At most `most` of the newest decided requests. `broken_only`: only those whose SLO was broken.

    Raises SettingsError where Redis fails.
    """
    with _stream(settings) as (client, stream):
        wanted = (
            record
            for record in islice(_newest(client, stream), MOST_RECORDS)
            if record.decision is not None and not (broken_only and record.slo_met is not False)
        )
        return list(islice(wanted, most))


def find(settings: Settings, request_id: str) -> Recorded | None:
    """The newest record of a request, or `None`. Raises SettingsError where Redis fails."""
    with _stream(settings) as (client, stream):
        return find_in_stream(client, stream, request_id)


@contextmanager
def _stream(settings: Settings) -> Iterator[tuple[BlockingClient, str]]:
    with redis_of(settings) as client:
        if client is None:
            raise SettingsError("no redis_url in the YAML")
        yield client, settings.plugin.key_prefix + REQUESTS_STREAM


def _newest(client: BlockingClient, stream: str) -> Iterator[Recorded]:
    return iter(Journal(newest_stream_lines(client, stream), Selection()))


def _sum(records: Iterator[Recorded], accounts: Counterfactual, since_s: float, window_s: int) -> Summed:
    tallies, mix, slots, read = Tallies(), Mix(), defaultdict[int, Tally](Tally), 0
    slot_s = max(window_s // POINTS, 1)
    for record in records:
        if record.ts < since_s - REDIS_SKEW_S:
            break
        if record.ts < since_s:
            continue
        if read == MOST_RECORDS:
            return Summed(tallies, mix, _points(slots, slot_s), read, is_cut=True)
        read += 1
        mix.see(record)
        money = accounts.account(record)
        tallies.add(record, money)
        slots[int(record.ts // slot_s)].add(record, money, None)
    return Summed(tallies, mix, _points(slots, slot_s), read, is_cut=False)


def _points(slots: dict[int, Tally], slot_s: int) -> list[Hour]:
    points = [Hour.of(slot * slot_s, tally) for slot, tally in sorted(slots.items())]
    return [one for one in points if one.judged]
