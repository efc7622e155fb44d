"""Reads requests from files and from the router's stream in Redis, in pages, so that memory does not grow.

The content of a file shows its kind:

records      the router's request records (`slo_router:requests`, `log.jsonl_path`), one per line
spend-logs   LiteLLM's answer on /spend/logs (a JSON array), or its rows, one per line
batch        an OpenAI batch input file: custom_id, method, url, body

A JSON array is read as a whole, for LiteLLM returns at most 10,000 rows. Longer logs have one row per line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import IO, TypeAlias, cast

import msgspec

from slo_bench.errors import SampleError
from slo_bench.sampling.bodies import UnusableError
from slo_bench.sampling.candidate import Candidate, LeftOut
from slo_bench.sampling.entries import EntryFilter, read_batch_line, read_record, read_spend_log
from slo_bench.store import Store
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.redis.link import LINK_ERRORS, BlockingClient, connect_blocking, error_kind, masked
from slo_router.contract.units import MS_PER_S


class Kind(StrEnum):
    """The kind of a file."""

    RECORDS = "records"
    SPEND_LOGS = "spend-logs"
    BATCH = "batch"


_MARKS: Mapping[Kind, frozenset[str]] = {
    Kind.RECORDS: frozenset({"call_type", "outcome", "decision"}),
    Kind.SPEND_LOGS: frozenset({"request_id", "call_type", "spend"}),
    Kind.BATCH: frozenset({"custom_id", "body"}),
}
_READERS: Mapping[Kind, Callable[[bytes, EntryFilter], Candidate]] = {
    Kind.RECORDS: read_record,
    Kind.SPEND_LOGS: read_spend_log,
    Kind.BATCH: read_batch_line,
}


def kind_of(entry: bytes) -> Kind | None:
    """The kind of an entry; `None` for an unknown kind. Raises msgspec.DecodeError if it is not JSON."""
    fields = msgspec.json.decode(entry)
    return next((kind for kind, mark in _MARKS.items() if isinstance(fields, dict) and mark <= set(fields)), None)


def reader_of(kind: Kind, wanted: EntryFilter) -> Callable[[bytes], Candidate | LeftOut]:
    """A function that reads one entry and raises nothing."""
    read = _READERS[kind]

    def read_entry(entry: bytes) -> Candidate | LeftOut:
        try:
            return read(entry, wanted)
        except UnusableError as error:
            return error.why
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return LeftOut.MALFORMED

    return read_entry


PAGE = 200  # entries with prompts may be large
MAX_ENTRY_BYTES = 32 * 2**20  # a longer line counts as not readable
PEEKED = 100  # entries that are read to find the kind of a file
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
    """The kind of the entries, and all entries. Raises SampleError if the first ones do not show the kind."""
    first = list(islice(entries, PEEKED))
    for entry in first:
        try:
            kind = kind_of(entry)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if kind is not None:
            return kind, chain(first, entries)
    raise SampleError(
        f"{path}: nothing known in its first {len(first)} entries, expected request records, rows of /spend/logs (not "
        "of /spend/logs/v2, which has no prompts) or lines of an OpenAI batch file; --kind says which it is"
    )


def stream_entries(store: Store, hours: float | None) -> Iterator[bytes]:
    """The records now in the stream, oldest first, of the last `hours` or all. Raises SampleError where Redis fails."""
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
            f"redis_url: {masked(store.redis_url)}, {error_kind(error)} while reading {stream}, expected a user who "
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
