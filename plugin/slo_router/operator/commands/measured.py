"""Reads what Redis holds of the deployments now: the snapshot, and what the workers publish. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.contract.model import Snapshot
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect, error_kind, masked
from slo_router.contract.settings.config import Settings
from slo_router.errors import SettingsError
from slo_router.live.picture import Export
from slo_router.operator.commands.terminal import remarks
from slo_router.quality.comparing import Outcomes
from slo_router.quality.judging import NOT_FED, Fed
from slo_router.worker.learning.feedback import Feedback, sources_of
from slo_router.worker.pairing.comparisons import Comparisons, Control
from slo_router.worker.pairing.purse import spent_usd
from slo_router.worker.sharing import read_export
from slo_router.worker.snapshot import MetricsStore


class Measured(NamedTuple):
    """One reading. `exports` is by worker. `dropped_values` counts impossible values. `fed`: what users said.

    `pairs` and `controls` (by judge) are what comparisons showed, `paired_usd` is what they cost today, by group.
    """

    snapshot: Snapshot
    exports: Mapping[str, Export]
    dropped_values: int
    fed: Fed = NOT_FED
    pairs: Sequence[Outcomes] = ()
    controls: Mapping[str, Control] = MappingProxyType({})
    paired_usd: Mapping[str, float] = MappingProxyType({})


async def read_measured(settings: Settings) -> Measured:
    """Reads Redis; empty where the YAML has no `redis_url`. Raises SettingsError where Redis fails."""
    url = settings.plugin.redis_url
    if url is None:
        return Measured(Snapshot(), {}, 0)
    async with linked(url) as client:
        store = MetricsStore(settings.plugin.key_prefix)
        names = [one.facts.deployment_id for one in settings.deployments]
        categories = sorted({name for group in settings.plugin.groups.values() for name in group.known_categories})
        await store.refresh(client, names, categories)
        exports = await _exports(client, settings.plugin.key_prefix)
        feedback = Feedback(settings.plugin.key_prefix)
        sources = sources_of(settings.plugin.groups.values(), feedback=settings.plugin.feedback)
        await feedback.refresh(client, time.time(), sources)
        found, usd = Comparisons(settings.plugin.key_prefix), dict[str, float]()
        if any(group.shadow_evaluation for group in settings.plugin.groups.values()):
            await found.refresh(client, time.time())
            usd = await spent_usd(client, settings.plugin.key_prefix, time.time())
        graded = feedback.sums, found.rows, found.controls, usd
        return Measured(store.snapshot, exports, store.dropped_values, *graded)


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[AsyncClient]:
    """A client of Redis, closed at the end. Raises SettingsError where Redis fails."""
    try:
        client = connect(url)
        try:
            yield client
        finally:
            await client.aclose()
    except LINK_ERRORS as error:
        raise SettingsError(f"Redis at {masked(url)}: {error_kind(error)}, expected a server that answers") from error


async def measured_if_there(settings: Settings) -> Measured:
    """Like `read_measured`. Where Redis fails it prints a remark and returns nothing: a command may need only files."""
    try:
        return await read_measured(settings)
    except SettingsError as error:
        remarks.print(f"measured qualities are not shown: {error}", style="yellow", highlight=False, markup=False)
        return Measured(Snapshot(), {}, 0)


async def _exports(client: AsyncClient, prefix: str) -> dict[str, Export]:
    """The exports of the workers that are alive, by worker, without malformed ones."""
    workers = sorted(map(str, await client.smembers(prefix + WORKERS_KEY)))
    pipeline = client.pipeline(transaction=False)
    for worker in workers:
        pipeline.get(prefix + LIVE_KEY + worker)
    found: dict[str, Export] = {}
    for worker, text in zip(workers, await pipeline.execute() if workers else (), strict=True):
        export = read_export(text)
        if export is not None:
            found[worker] = export
    return found
