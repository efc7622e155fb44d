"""Lets every worker know what the others see: each writes its own key, and reads everybody else's.

    {prefix}slo_router:live:{worker}   JSON of that worker alone, gone TTL_S after it stopped writing
    {prefix}slo_router:workers         set of the worker names; a name whose key is gone is taken out
    {prefix}slo_router:bell            stream of one entry; who waits for the next one hears at once that there is news

One round per refresh interval for this worker's own and one for every `AT_ONCE` others, whatever the request rate; and
one more each time that a deployment is found to be full, for until the others know of it they go on sending.
Nobody changes what another wrote, no clock is compared, and a worker that dies in the middle of a write has written all
or nothing.
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

CONVERSATIONS, CACHING, LENGTHS = ".conversations", ".caching", ".lengths"  # of no deployment
RESCUES, WORTHS = ".rescues", ".worths"  # likewise
TTL_S = 5
MAX_WORKERS = 1_000
MAX_BYTES = 4_000_000  # of one worker's export: more is not a worker of ours
AT_ONCE = 8  # exports that are asked for in one go
LISTEN_S = 1.0  # for the bell: less than a client waits for an answer


class Sharing:
    """This worker's place among the others."""

    def __init__(self, prefix: str, refresh_interval_s: float) -> None:
        self.worker = uuid.uuid4().hex
        self._workers_key = prefix + WORKERS_KEY
        self._live_key = prefix + LIVE_KEY
        self._bell_key = prefix + BELL_KEY
        self._last_ring = "0-0"
        self.rank = 0  # of this worker's name among all
        self.lasts_s = TTL_S + 2 * refresh_interval_s  # what somebody said, once nothing newer comes
        self._ttl_s = round(self.lasts_s)

    async def listen(self, client: AsyncClient) -> bool:
        """Whether somebody rings within LISTEN_S, if only this worker itself. Raises redis errors."""
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
    """What a worker published; `None` where it is no export."""
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError):
        return None


def decoded(text: msgspec.Raw | None) -> object:
    """What another worker wrote; `None` where it wrote nothing, or nothing that can be read."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
