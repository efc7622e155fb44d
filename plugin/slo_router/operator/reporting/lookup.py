"""Finds one request's record by its id.

The stream's index tells in which millisecond a record was written. That takes two commands. An id that the index does
not have is searched as text, and only lines with that text are decoded. A script in Redis searches its entries, newest
first, page by page, some milliseconds each. So its 200 MB are not transferred: 100,000 entries take one to two seconds.
The files have no index. They are searched in the kernel's page cache.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import msgspec
from redis.exceptions import NoPermissionError, ResponseError

from slo_router.contract.keys import request_index_key
from slo_router.contract.redis.link import BlockingClient
from slo_router.errors import SettingsError
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.reporting.journal import PAGE, Entry, Journal, Selection, newest_stream_lines

_LOOK_THROUGH = """
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  for _, text in ipairs(entry[2]) do
    if string.find(text, ARGV[2], 1, true) then return {entry[1], text} end
  end
end
return #entries > 0 and {entries[#entries][1]} or {}
"""


def find_in_stream(client: BlockingClient, stream: str, request_id: str) -> Recorded | None:
    """The newest record of a request, or `None`. Raises redis errors.

    If the index does not have it and this user may not run scripts, every entry is transferred, which takes longer.
    """
    if (record := _find_by_index(client, stream, request_id)) is not None:
        return record
    naming, end = _as_json(request_id), "+"
    while True:
        try:
            answer = cast("list[str]", client.eval(_LOOK_THROUGH, 1, stream, end, naming, str(PAGE)))
        except ResponseError as error:
            if not isinstance(error, NoPermissionError) and "unknown command" not in str(error).lower():
                raise
            return _first(newest_stream_lines(client, stream), request_id)
        if not answer:
            return None
        if (record := _first(answer[1:], request_id)) is not None:
            return record
        end = f"({answer[0]}"


def _find_by_index(client: BlockingClient, stream: str, request_id: str) -> Recorded | None:
    try:
        time_ms = client.zscore(request_index_key(stream), request_id)
    except NoPermissionError:
        return None
    if time_ms is None:
        return None
    at = f"{time_ms:.0f}"  # all of this millisecond
    entries = cast("list[Entry]", client.xrevrange(stream, max=at, min=at))
    return _first((fields.get("record", "") for _, fields in entries), request_id)


def find_in_files(paths: Iterable[Path], request_id: str) -> Recorded | None:
    """The record of a request in the first file that has it, or `None`. Raises SettingsError for an unreadable file."""
    return _first((line for path in paths for line in _naming(path, _as_json(request_id).encode())), request_id)


def _naming(path: Path, needle: bytes) -> Iterator[bytes]:
    """The lines of a file with `needle` in them."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(needle)
            while at >= 0:
                end = text.find(b"\n", at)
                end = len(text) if end < 0 else end
                yield text[text.rfind(b"\n", 0, at) + 1 : end]
                at = text.find(needle, end)
    except (FileNotFoundError, ValueError):  # FileNotFoundError: rotated away meanwhile; ValueError: the file is empty
        return
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, expected a file of request records") from error


def _first(lines: Iterable[bytes | str], request_id: str) -> Recorded | None:
    naming = _as_json(request_id)
    data = naming.encode()
    named = (line for line in lines if (data in line if isinstance(line, bytes) else naming in line))
    return next((record for record in Journal(named, Selection()) if record.request_id == request_id), None)


def _as_json(text: str) -> str:
    return msgspec.json.encode(text).decode()
