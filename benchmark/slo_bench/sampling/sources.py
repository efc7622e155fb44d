"""The kinds of files that requests come from, told apart by their content.

records      the router's request records (`slo_router:requests`, `log.jsonl_path`), one a line
spend-logs   what LiteLLM answers on /spend/logs (a JSON array), or its rows one a line
batch        an OpenAI batch input file: custom_id, method, url, body
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from slo_bench.sampling.bodies import UnusableError
from slo_bench.sampling.candidate import Candidate, LeftOut
from slo_bench.sampling.entries import Wanted, read_batch_line, read_record, read_spend_log


class Kind(StrEnum):
    """What a file holds."""

    RECORDS = "records"
    SPEND_LOGS = "spend-logs"
    BATCH = "batch"


_MARKS: Mapping[Kind, frozenset[str]] = {
    Kind.RECORDS: frozenset({"call_type", "outcome", "decision"}),
    Kind.SPEND_LOGS: frozenset({"request_id", "call_type", "spend"}),
    Kind.BATCH: frozenset({"custom_id", "body"}),
}
_READERS: Mapping[Kind, Callable[[bytes, Wanted], Candidate]] = {
    Kind.RECORDS: read_record,
    Kind.SPEND_LOGS: read_spend_log,
    Kind.BATCH: read_batch_line,
}


def kind_of(entry: bytes) -> Kind | None:
    """What an entry is; `None` where it is none of the three. Raises msgspec.DecodeError where it is no JSON."""
    fields = msgspec.json.decode(entry)
    return next((kind for kind, mark in _MARKS.items() if isinstance(fields, dict) and mark <= set(fields)), None)


def reader_of(kind: Kind, wanted: Wanted) -> Callable[[bytes], Candidate | LeftOut]:
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
