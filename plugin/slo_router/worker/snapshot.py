"""Keeps the last reading of Redis in memory, so that the request path never waits for it.

A background job calls `refresh`, which reads every hash of the managed deployments, `AT_ONCE` in one pipeline, and
swaps in a new immutable `Snapshot`. A hash that did not change is not parsed again. While Redis is away, the last
snapshot stays, its measurements age, and `refresh` is retried with backoff. A value that cannot be true is dropped,
counted, and logged once per key and field.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from slo_router.contract.ages import fresh, lapses_at_s
from slo_router.contract.keys import metrics_key
from slo_router.contract.latency_fit import read_fit
from slo_router.contract.metrics_hash import read_metrics
from slo_router.contract.model import Metrics, Snapshot
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient
from slo_router.decision.known import pool
from slo_router.worker.tasks.turns import give_way

AT_ONCE = 16  # hashes
MOST_TOLD = 1_000  # faults that are logged; later ones are only counted

Cell = tuple[str, str]  # a deployment's id and a category
log = logging.getLogger("slo_router")


class MetricsStore:
    """The current snapshot and the count of dropped values."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._told: set[tuple[str, str]] = set()
        self._said: Mapping[str, Mapping[str, Metrics]] = {}  # what Redis last said, lapsed values included
        self._good: dict[Cell, tuple[Mapping[str, str], Metrics]] = {}  # hashes without a fault, and what was read
        self.snapshot = Snapshot()
        self.dropped_values = 0

    async def refresh(self, client: AsyncClient, deployments: Iterable[str], categories: Sequence[str]) -> None:
        """Reads all hashes once. Raises redis errors; the snapshot is then unchanged."""
        cells = [(deployment, category) for deployment in deployments for category in categories]
        now_s, found = time.time(), dict[Cell, Metrics]()
        for first in range(0, len(cells), AT_ONCE):
            asked = cells[first : first + AT_ONCE]
            pipeline = client.pipeline(transaction=False)
            for cell in asked:
                pipeline.hgetall(metrics_key(self._prefix, *cell))
            answers = await pipeline.execute(raise_on_error=False)
            await give_way()
            now_s = time.time()
            for cell, answer in zip(asked, answers, strict=True):
                metrics = self._metrics(cell, answer, now_s)
                if metrics is not None:
                    found[cell] = metrics
            await give_way()
        self._good = {cell: known for cell, known in self._good.items() if cell in found}
        measured, before = _by_deployment(found), self.snapshot
        is_same = measured == self._said and now_s < before.lapses_at_s
        self._said = measured
        self.snapshot = replace(before, read_at_s=now_s) if is_same else make_snapshot(measured, now_s)

    def _metrics(self, cell: Cell, answer: object, now_s: float) -> Metrics | None:
        known = self._good.get(cell)
        if known is not None and known[0] == answer:
            return known[1]
        dropped = self.dropped_values
        metrics = self._read(metrics_key(self._prefix, *cell), answer, now_s)
        if metrics is not None and isinstance(answer, Mapping) and self.dropped_values == dropped:
            self._good[cell] = answer, metrics
        return metrics

    def lapse(self, now_s: float) -> None:
        """Drops what has lapsed since Redis was last read, which may be long ago."""
        before = self.snapshot
        if now_s >= before.lapses_at_s:
            self.snapshot = make_snapshot(before.measured, now_s, before.read_at_s)

    def _read(self, key: str, answer: object, now_s: float) -> Metrics | None:
        if isinstance(answer, LINK_ERRORS) and "WRONGTYPE" not in str(answer):
            raise answer  # Redis refuses (no permission) or is away (a node died), and the key may be fine
        if not isinstance(answer, Mapping):  # a key of another type, which another program wrote
            self._drop(key, "(the key)", type(answer).__name__, "a hash")
            return None
        metrics, bad = read_metrics(answer, now_s)
        fit, bad_fit = read_fit(answer, now_s)
        for value in (*bad, *bad_fit):
            self._drop(key, value.field, value.value, value.expected)
        return None if metrics is None else metrics._replace(fit=fit)

    def _drop(self, key: str, field: str, value: str, expected: str) -> None:
        self.dropped_values += 1
        if (key, field) not in self._told and len(self._told) < MOST_TOLD:
            self._told.add((key, field))
            log.warning("ignoring %s of %s in Redis: %.60r, expected %s", field, key, value, expected)


def _by_deployment(found: Mapping[Cell, Metrics]) -> dict[str, dict[str, Metrics]]:
    measured: dict[str, dict[str, Metrics]] = {}
    for (deployment, category), metrics in found.items():
        measured.setdefault(deployment, {})[category] = metrics
    return measured


def make_snapshot(
    measured: Mapping[str, Mapping[str, Metrics]], now_s: float, read_at_s: float | None = None
) -> Snapshot:
    """A snapshot without what has lapsed. Pools the metrics once, so that no decision has to.

    `read_at_s` is when Redis was read, Unix seconds; `None` means now.
    """
    counting = {
        name: {category: fresh(row, now_s) for category, row in rows.items()} for name, rows in measured.items()
    }
    pooled = {name: pool(rows.values()) for name, rows in counting.items()}
    every = [row for rows in counting.values() for row in rows.values()]
    return Snapshot(
        counting,
        {name: row for name, row in pooled.items() if row is not None},
        now_s if read_at_s is None else read_at_s,
        any_fault=any(row.answer_fault for row in every),
        any_error=any(row.error_rate for row in every),
        lapses_at_s=lapses_at_s(every),
    )
