"""Writes request records in the background: to the Redis stream and, if configured, to a rotating JSONL file.

    request path → offer() → bounded queue (memory) → one task, in batches → XADD MAXLEN ~, file

`offer` never waits and never raises: a full queue drops the record and counts it. A batch that Redis refuses waits for
the next flush; while Redis is away the queue fills and then drops, so a long outage costs records, not memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

from slo_router.config import LogSettings
from slo_router.contract import REQUESTS_STREAM, RequestRecord
from slo_router.redis_link import AsyncClient

BATCH = 500
log = logging.getLogger("slo_router")


class RequestLog:
    """The queue and its writer. `dropped` counts records that were lost since start."""

    def __init__(self, settings: LogSettings, prefix: str) -> None:
        self._settings = settings
        self._stream = prefix + REQUESTS_STREAM
        self._queue: deque[str] = deque()
        self._file_queue: deque[str] = deque()
        self._file = _open_file(settings)
        self.dropped = 0

    def offer(self, record: RequestRecord) -> None:
        """Takes a record if there is room."""
        line = record.model_dump_json()
        if len(self._queue) >= self._settings.queue_size:
            self.dropped += 1
        else:
            self._queue.append(line)
        if self._file is not None and len(self._file_queue) < self._settings.queue_size:
            self._file_queue.append(line)

    async def flush(self, client: AsyncClient | None) -> int:
        """Writes what is waiting and returns how many records Redis took. Redis errors leave the records waiting."""
        if self._file is not None and self._file_queue:
            await asyncio.to_thread(self._write_file)
        written = 0
        while client is not None and self._queue:
            batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
            pipeline = client.pipeline(transaction=False)
            for line in batch:
                pipeline.xadd(self._stream, {"record": line}, maxlen=self._settings.stream_maxlen, approximate=True)
            await pipeline.execute()
            for _ in batch:
                self._queue.popleft()
            written += len(batch)
        return written

    def _write_file(self) -> None:
        while self._file is not None and self._file_queue:
            line = self._file_queue.popleft()
            self._file.handle(logging.LogRecord("slo_router.requests", logging.INFO, "", 0, line, None, None))


def _open_file(settings: LogSettings) -> RotatingFileHandler | None:
    if settings.jsonl_path is None:
        return None
    path = Path(settings.jsonl_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix or '.jsonl'}")  # workers must not rotate each other's
    return RotatingFileHandler(
        own, maxBytes=settings.jsonl_max_mb * 2**20, backupCount=settings.jsonl_backups, encoding="utf-8", delay=True
    )
