"""Lets every worker know what the others see: each writes its own key, and reads the keys of all others.

    {prefix}slo_router:live:{worker}   JSON of that worker alone, gone TTL_S after it stopped writing
    {prefix}slo_router:workers         set of the worker names; a name whose key is gone is taken out
    {prefix}slo_router:bell            stream of one entry; a worker that waits for the next entry hears news at once

In each refresh interval a worker makes one round trip for its own key and one for every `AT_ONCE` others, whatever the
request rate. It shares once more each time that it finds a deployment full, for the others send there until they know.
No worker changes what another wrote, no clocks are compared, and a worker that dies in the middle of a write has
written all or nothing.
"""

from __future__ import annotations

import uuid
from bisect import bisect
from typing import cast

import msgspec

from slo_router.contract.keys import BELL_KEY, LIVE_KEY, WORKERS_KEY
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.units import MS_PER_S
from slo_router.live.picture import Export
from slo_router.worker.tasks.turns import give_way

# Names in an export that are no deployment's id
CONVERSATIONS, CACHING, LENGTHS = ".conversations", ".caching", ".lengths"
RESCUES, WORTHS = ".rescues", ".worths"
TTL_S = 5
MAX_WORKERS = 1_000
MAX_BYTES = 4_000_000  # of one worker's export; a longer one was not written by this plugin
AT_ONCE = 8  # exports that one round trip reads
LISTEN_S = 1.0  # for the bell: shorter than a client of Redis waits for an answer


class Sharing:
    """This worker's place among the others."""

    def __init__(self, prefix: str, refresh_interval_s: float) -> None:
        self.worker = uuid.uuid4().hex
        self._workers_key = prefix + WORKERS_KEY
        self._live_key = prefix + LIVE_KEY
        self._bell_key = prefix + BELL_KEY
        self._last_ring = "0-0"
        self.rank = 0  # of this worker's name among all workers' names
        self.lasts_s = TTL_S + 2 * refresh_interval_s  # so long an export counts if no newer one comes
        self._ttl_s = round(self.lasts_s)

    async def listen(self, client: AsyncClient) -> bool:
        """Whether a worker rings within LISTEN_S, perhaps this one. Raises redis errors."""
        asked: dict[bytes | str | memoryview, int | bytes | str | memoryview] = {self._bell_key: self._last_ring}
        found = await client.xread(asked, block=round(LISTEN_S * MS_PER_S))
        heard = cast("list[tuple[str, list[tuple[str, object]]]]", found)
        for _, entries in heard or ():
            self._last_ring = entries[-1][0]
        return bool(heard)

    async def exchange(self, client: AsyncClient, own: bytes, *, rings: bool = False) -> list[Export]:
        """Publishes `own`, JSON, and returns what the other workers published. Raises redis errors."""
        pipeline = client.pipeline(transaction=False)
        pipeline.set(self._live_key + self.worker, own, ex=self._ttl_s)
        if rings:
            pipeline.xadd(self._bell_key, {"worker": self.worker}, maxlen=1, approximate=False)
        pipeline.sadd(self._workers_key, self.worker)
        pipeline.smembers(self._workers_key)
        *_, members = await pipeline.execute()
        others = sorted({str(name) for name in members} - {self.worker})[:MAX_WORKERS]
        self.rank = bisect(others, self.worker)
        exports: list[Export] = []
        gone: list[str] = []
        for first in range(0, len(others), AT_ONCE):
            asked = others[first : first + AT_ONCE]
            pipeline = client.pipeline(transaction=False)
            for worker in asked:
                pipeline.get(self._live_key + worker)
            answers = await pipeline.execute()
            gone += [worker for worker, answer in zip(asked, answers, strict=True) if answer is None]
            for answer in answers:
                if (export := read_export(answer)) is not None:
                    exports.append(export)
                await give_way()
        if gone:
            await client.srem(self._workers_key, *gone)
        return exports


def read_export(text: object) -> Export | None:
    """Reads what a worker published; `None` where that is no export."""
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError):
        return None


def decoded(text: msgspec.Raw | None) -> object:
    """Decodes a part of another worker's export; `None` where the part is absent or unreadable."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
