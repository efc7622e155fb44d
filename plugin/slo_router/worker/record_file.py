"""The rotating JSONL file of a worker's records, written by a thread of its own.

The file may be on a disk that hangs, or be a pipe that nobody reads. Only its thread waits for it, and the process can
end while the thread hangs. (`logging` has such files, but waits for all of them when the process ends.) Lines wait in a
bounded queue. A line is lost and counted if it finds the queue full, or if the disk refuses it.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from io import FileIO
from pathlib import Path

from slo_router.contract.settings.config import LogSettings
from slo_router.worker.tasks.jobs import Standing

log = logging.getLogger("slo_router")


class RecordFile:
    """The queue of lines, and the thread that writes them."""

    def __init__(self, settings: LogSettings) -> None:
        self._most = settings.queue_size
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._file = _RotatingFile(settings)
        self._standing = Standing(time.time())
        self._offered = self._done = self._refused = self._full = 0
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines that were lost since start."""
        return self._full + self._refused

    @property
    def standing(self) -> Standing:
        """How the thread goes. It counts as succeeding while no line waits."""
        if self._done == self._offered and not self._standing.in_a_row:
            self._standing.succeeded_at_s = time.time()
        return self._standing

    def offer(self, line: str) -> None:
        """Takes a line if the queue has room."""
        if self._lines.qsize() >= self._most:
            self._full += 1
            return
        self._offered += 1
        self._lines.put(f"{line}\n".encode("utf-8", "replace"))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slo_router records", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        standing = self._standing
        while True:
            line = self._lines.get()
            try:
                self._file.write(line)
                standing.succeeded_at_s, standing.in_a_row = time.time(), 0
            except OSError as error:
                self._refused, standing.failures, standing.in_a_row = (
                    self._refused + 1,
                    standing.failures + 1,
                    standing.in_a_row + 1,
                )
                if standing.in_a_row == 1:
                    log.warning("records cannot be written to log.jsonl_path: %s", error.strerror)
            self._done += 1


class _RotatingFile:
    """A file that is renamed to `.1` before it grows beyond its size; an older `.1` becomes `.2`, and so on."""

    def __init__(self, settings: LogSettings) -> None:
        path = Path(settings.jsonl_path or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        # each worker has its own file, for two workers must not rotate the same one
        self._path = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix or '.jsonl'}")
        self._most_bytes = settings.jsonl_max_mb * 2**20
        self._backups = settings.jsonl_backups
        self._file: FileIO | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Writes a line. Raises OSError where the disk refuses it."""
        if self._file is not None and self._size + len(line) > self._most_bytes:
            self._rotate()
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
            self._size = os.fstat(self._file.fileno()).st_size
        rest = memoryview(line)
        while rest:  # a pipe may take only a part at once
            rest = rest[self._file.write(rest) :]
        self._size += len(line)

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        if not self._path.is_file():
            return
        for number in range(self._backups - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
