"""Where requests are read from: files, and the router's stream in Redis. In pages, so that memory does not grow.

A JSON array is read whole, as LiteLLM returns at most 10,000 rows in one; longer logs come as one row a line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, TypeAlias, cast

import msgspec

from slo_bench.errors import SampleError
from slo_bench.run.session import Store
from slo_bench.sampling.sources import Kind, kind_of
from slo_router.contract.metrics_hash import REQUESTS_STREAM
from slo_router.contract.redis.link import LINK_ERRORS, BlockingClient, connect_blocking, masked
from slo_router.contract.units import MS_PER_S

PAGE = 200  # entries with prompts may be large
MAX_ENTRY_BYTES = 32 * 2**20  # a longer line counts as not readable
PEEKED = 100  # entries that are looked at for the kind of a file
_Entries: TypeAlias = list[tuple[str, dict[str, str]]]


def file_entries(path: Path) -> Iterator[bytes]:
    """The lines of a file, or the elements of its JSON array. Raises SampleError."""
    try:
        with path.open("rb") as file:
            if file.read(64).lstrip()[:1] == b"[":
                file.seek(0)
                yield from (bytes(row) for row in msgspec.json.decode(file.read(), type=list[msgspec.Raw]))
            else:
                file.seek(0)
                yield from _lines(file)
    except OSError as error:
        raise SampleError(f"{path}: {error.strerror}, expected a file of requests") from error
    except msgspec.DecodeError as error:
        raise SampleError(f"{path}: not a JSON array: {error}") from error


def with_kind(entries: Iterator[bytes], path: Path) -> tuple[Kind, Iterator[bytes]]:
    """What the entries are, and all of them. Raises SampleError where the first ones do not show it."""
    first = list(islice(entries, PEEKED))
    for entry in first:
        try:
            kind = kind_of(entry)
        except (msgspec.DecodeError, UnicodeError):
            continue
        if kind is not None:
            return kind, chain(first, entries)
    raise SampleError(
        f"{path}: nothing known in its first {len(first)} entries, expected request records, rows of /spend/logs (not "
        "of /spend/logs/v2, which has no prompts) or lines of an OpenAI batch file; --kind says which it is"
    )


def stream_entries(store: Store, hours: float | None) -> Iterator[bytes]:
    """The records that are in the stream now, oldest first, of the last `hours` or all. Raises SampleError."""
    stream = store.key_prefix + REQUESTS_STREAM
    start = "-" if hours is None else str(int((time.time() - hours * 3_600) * MS_PER_S))
    try:
        client = connect_blocking(store.redis_url)
        try:
            yield from _pages(client, stream, start)
        finally:
            client.close()
    except LINK_ERRORS as error:
        raise SampleError(
            f"redis_url: {masked(store.redis_url)}, {type(error).__name__} while reading {stream}, expected a user who "
            "may read it: with the rights of docs/security.md that is the router's, not the agent's"
        ) from error


def _pages(client: BlockingClient, stream: str, start: str) -> Iterator[bytes]:
    newest = cast("_Entries", client.xrevrange(stream, count=1))
    while newest:  # what is written after now is not read, or a busy stream would never end
        entries = cast("_Entries", client.xrange(stream, min=start, max=newest[0][0], count=PAGE))
        yield from (fields.get("record", "").encode() for _, fields in entries)
        if len(entries) < PAGE:
            return
        start = f"({entries[-1][0]}"


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_ENTRY_BYTES):
        if len(line) == MAX_ENTRY_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_ENTRY_BYTES)) and not rest.endswith(b"\n"):
                pass
            line = b"too long"  # counts as one entry that is not readable
        if not line.isspace():
            yield line
