"""What Redis holds of the deployments now, read once and never written: the snapshot, and what the workers publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.contract.model import Snapshot
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect, masked
from slo_router.contract.settings.config import Settings
from slo_router.errors import SettingsError
from slo_router.live.picture import Export
from slo_router.operator.commands.terminal import remarks
from slo_router.worker.sharing import read_export
from slo_router.worker.snapshot import MetricsStore


class Measured(NamedTuple):
    """One reading. `exports` is by worker; `dropped_values` counts what cannot be true."""

    snapshot: Snapshot
    exports: Mapping[str, Export]
    dropped_values: int


async def read_measured(settings: Settings) -> Measured:
    """Everything; empty where the YAML has no `redis_url`. Raises SettingsError where Redis fails."""
    url = settings.plugin.redis_url
    if url is None:
        return Measured(Snapshot(), {}, 0)
    try:
        client = connect(url)
        try:
            store = MetricsStore(settings.plugin.key_prefix)
            names = [one.facts.deployment_id for one in settings.deployments]
            categories = sorted({name for group in settings.plugin.groups.values() for name in group.known_categories})
            await store.refresh(client, names, categories)
            exports = await _exports(client, settings.plugin.key_prefix)
            return Measured(store.snapshot, exports, store.dropped_values)
        finally:
            await client.aclose()
    except LINK_ERRORS as error:
        raise SettingsError(
            f"Redis at {masked(url)}: {type(error).__name__}, expected a server that answers"
        ) from error


async def snapshot_if_there(settings: Settings) -> Snapshot:
    """The benchmark's part; where Redis fails an empty one and a remark, for the files may be all that is at hand."""
    try:
        return (await read_measured(settings)).snapshot
    except SettingsError as error:
        remarks.print(f"measured qualities are not shown: {error}", style="yellow", highlight=False, markup=False)
        return Snapshot()


async def _exports(client: AsyncClient, prefix: str) -> dict[str, Export]:
    """What the workers that are alive published, by worker; what is no export is left out."""
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
