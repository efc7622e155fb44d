"""Writes request records in the background: to the Redis stream and, if configured, to a rotating JSONL file.

    request path → offer() → bounded queue (memory) → one job, in batches → XADD MAXLEN ~, ZADD of their ids
                           → bounded queue (memory) → one thread          → file

A flush that broke may have written its records: Redis's answer is lost. So before they are written again, the stream's
end is searched for them, back to the last entry that this worker knows of.

`offer` never waits and never raises: a full queue drops the record and counts it. A batch that Redis refuses waits for
the next flush. While Redis is away, the queue fills and then drops, so a long outage costs records, not memory. Where
no Redis is configured, nothing is queued for it. A disk that hangs holds up only the file's thread.

The ids say in which millisecond each record was written, so that a record is found without a walk through the stream.
As many ids are kept as the stream has entries. An id may be lost (a Redis user without the right, a connection that
breaks in between). `slo-router explain` then searches the stream, and the request cannot be rated.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import cast

from redis.exceptions import NoPermissionError

from slo_router.contract.keys import REQUESTS_STREAM, request_index_key
from slo_router.contract.record import RequestRecord
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import LogSettings
from slo_router.worker.record_file import RecordFile
from slo_router.worker.tasks.jobs import Standing
from slo_router.worker.tasks.turns import give_way

Entry = tuple[str, dict[str, str]]  # of a stream: its id and its fields
BATCH = 50
PAGE, MOST_PAGES = 500, 20  # of the stream's end, searched for what a broken flush may have written
NODE = 100  # so many entries the stream may have beyond its maximum, for Redis trims it by whole nodes


class RequestLog:
    """The queues of records for Redis and for the file."""

    def __init__(self, settings: LogSettings, prefix: str) -> None:
        self._settings = settings
        self._stream = prefix + REQUESTS_STREAM
        self._index = request_index_key(self._stream)
        self._queue: deque[tuple[str, str]] = deque()  # request id and JSON
        self._file = None if settings.jsonl_path is None else RecordFile(settings)
        self._dropped = 0
        self._has_redis = True
        self._last_id = "-"  # of the last entry that this worker wrote
        self._in_doubt: frozenset[str] = frozenset()  # records that a broken flush may have written

    @property
    def dropped(self) -> int:
        """How often a record was lost since start. A record that both queues lost counts twice."""
        return self._dropped + (0 if self._file is None else self._file.dropped)

    @property
    def has_redis(self) -> bool:
        """Whether records are to go to Redis."""
        return self._has_redis

    @has_redis.setter
    def has_redis(self, value: bool) -> None:
        self._has_redis = value
        if not value:
            self._queue.clear()

    @property
    def file_standing(self) -> Standing | None:
        """How the file's thread goes; `None` where there is no file."""
        return None if self._file is None else self._file.standing

    def offer(self, record: RequestRecord) -> None:
        """Takes a record for each queue that has room."""
        line = record.model_dump_json()
        if not self._has_redis:
            pass
        elif len(self._queue) >= self._settings.queue_size:
            self._dropped += 1
        else:
            self._queue.append((record.request_id, line))
        if self._file is not None:
            self._file.offer(line)

    async def flush(self, client: AsyncClient) -> int:
        """Writes the records that wait, and returns how many Redis took. Raises redis errors; the records then wait."""
        written = 0
        while self._queue:
            batch = list(islice(self._queue, BATCH))
            entries = await self._write(client, [line for _, line in batch])
            for _ in batch:
                self._queue.popleft()
            written += len(batch)
            await self._note([request_id for request_id, _ in batch], entries, client)
            await give_way()
        return written

    async def _write(self, client: AsyncClient, lines: Sequence[str]) -> list[str]:
        """Writes the lines that the stream does not have yet, and returns the entries' ids of all `lines`."""
        found = await self._find(client) if self._in_doubt else {}
        self._in_doubt |= frozenset(lines)
        missing = [line for line in lines if line not in found]
        pipeline = client.pipeline(transaction=False)
        for line in missing:
            pipeline.xadd(self._stream, {"record": line}, maxlen=self._settings.stream_maxlen, approximate=True)
        found |= dict(zip(missing, await pipeline.execute(), strict=True))
        self._in_doubt = frozenset()
        entries = [found[line] for line in lines]
        self._last_id = entries[-1]
        return entries

    async def _find(self, client: AsyncClient) -> dict[str, str]:
        """The records in doubt that the stream has, with their entries' ids."""
        found: dict[str, str] = {}
        start, end = self._last_id if self._last_id == "-" else f"({self._last_id}", "+"
        for _ in range(MOST_PAGES):
            page = cast("list[Entry]", await client.xrevrange(self._stream, max=end, min=start, count=PAGE))
            found |= {line: entry for entry, fields in page if (line := fields.get("record", "")) in self._in_doubt}
            if len(page) < PAGE:
                break
            end = f"({page[-1][0]}"
        return found

    async def _note(self, request_ids: Sequence[str], entries: Sequence[str], client: AsyncClient) -> None:
        times_ms = {name: int(entry.partition("-")[0]) for name, entry in zip(request_ids, entries, strict=True)}
        pipeline = client.pipeline(transaction=False)
        pipeline.zadd(self._index, times_ms)
        pipeline.zremrangebyrank(self._index, 0, -(self._settings.stream_maxlen + NODE + 1))
        with contextlib.suppress(NoPermissionError):
            await pipeline.execute()
