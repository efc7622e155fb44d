"""Exports of the spend logs, and request records, as files of any size: one row at a time.

    CSV        with a header: `\\copy "LiteLLM_SpendLogs" to spend.csv csv header`
    JSONL      a spend log or one of our request records in each line
    JSON       a list of spend logs, as `/spend/logs` answers, or an object with such a list under `data`
    Parquet    columns as in the table; takes the extra `parquet`

The first bytes of a file tell what it is, not its name. A `.gz` file is unpacked.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import msgspec

from slo_router.errors import SettingsError
from slo_router.operator.estimate.reading.rows import NO_TASK, Fate, Row, key_of
from slo_router.operator.estimate.reading.spend_logs import (
    COLUMNS,
    NEEDED,
    TEXT_COLUMNS,
    Categorize,
    decode,
    log_of_text,
    row_of,
)
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.replay.recorded import decode as decode_record

if TYPE_CHECKING:
    import pyarrow

BATCH = 20_000
CHUNK = 1 << 20
PARQUET = b"PAR1"
_FATES: dict[str, Fate] = {"success": "served", "disconnected": "served", "error": "failed", "cache_hit": "cache_hit"}
_EXPECTED = "an export of LiteLLM_SpendLogs (CSV, JSON, JSONL, Parquet) or request records"


def file_rows(path: Path, categorize: Categorize | None) -> Iterator[Row | None]:
    """The rows of a file; `None` for an unreadable one. Raises SettingsError where the file is none of these."""
    try:
        with _opened(path) as file:
            head = file.read(4_096)
            file.seek(0)
            first = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
            if head.startswith(PARQUET):
                yield from _parquet_rows(path, categorize)
            elif first == b"[" or (first == b"{" and _is_wrapped(head)):
                yield from _json_rows(file, path, categorize)
            elif first == b"{":
                yield from _line_rows(file, categorize)
            else:
                yield from _csv_rows(file, path, categorize)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise SettingsError(f"{path}: {said}, expected {_EXPECTED}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _is_wrapped(head: bytes) -> bool:
    """Whether an object holds a list of rows, and is not a row itself."""
    return b'"data"' in head.partition(b"[")[0] and b'"startTime"' not in head.partition(b"[")[0]


def _line_rows(file: IO[bytes], categorize: Categorize | None) -> Iterator[Row | None]:
    for line in file:
        if line.isspace():
            continue
        try:
            yield row_of(decode(line), categorize)
        except (msgspec.DecodeError, ValueError):
            try:
                yield row_of_record(decode_record(line))
            except (msgspec.DecodeError, UnicodeError):
                yield None


def row_of_record(record: Recorded) -> Row:
    """The row of one of our own request records."""
    return Row(
        record.ts,
        _FATES[record.outcome],
        record.model_group or "",
        record.deployment or "",
        record.deployment or "",
        key_of(record.key_alias, record.key_hash),
        record.category or NO_TASK,
        record.request_id,
        record.prompt_tokens or 0,
        record.completion_tokens or 0,
        record.cached_tokens or 0,
        record.cost_usd if record.prompt_tokens is not None else None,
    )


def _json_rows(file: IO[bytes], path: Path, categorize: Categorize | None) -> Iterator[Row | None]:
    is_any = False
    for text in _items(file):
        is_any = True
        try:
            yield row_of(decode(text), categorize)
        except (msgspec.DecodeError, ValueError):
            yield None
    if not is_any and path.stat().st_size > CHUNK:
        raise SettingsError(f"{path}: no list of rows, expected {_EXPECTED}")


def _items(file: IO[bytes]) -> Iterator[str]:
    """The items of the first list in a file, each as its text, whatever the file's size."""
    scan, text, at = json.JSONDecoder().raw_decode, "", 0
    reader = _decoded(file)
    for chunk in reader:
        text += chunk
        at = text.find("[") + 1
        if at:
            break
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at < len(text) and text[at] == "]":
            return
        try:
            _, end = scan(text, at)
        except json.JSONDecodeError:
            more = next(reader, None)
            if more is None:
                return
            text, at = text[at:] + more, 0
            continue
        yield text[at:end]
        at = end


def _decoded(file: IO[bytes]) -> Iterator[str]:
    rest = b""
    while chunk := file.read(CHUNK):
        whole = rest + chunk
        cut = len(whole)
        while cut and whole[cut - 1] & 0xC0 == 0x80:  # no cut within a character
            cut -= 1
        cut = max(cut - 1, 0)
        rest = whole[cut:]
        yield whole[:cut].decode()
    yield rest.decode()


def _csv_rows(file: IO[bytes], path: Path, categorize: Categorize | None) -> Iterator[Row | None]:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(line.decode() for line in file)
    header = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
    places = _places(header, path, categorize)
    for cells in reader:
        try:
            yield row_of(log_of_text([None if at is None else cells[at] for at in places]), categorize)
        except (ValueError, IndexError):
            yield None


def _places(header: Sequence[str], path: Path, categorize: Categorize | None) -> list[int | None]:
    """The place of each column, `None` if the file lacks it. Raises SettingsError where a needed one is missing."""
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise SettingsError(f"{path}: no column {', '.join(missing)}, expected {_EXPECTED}")
    wanted = (*COLUMNS, *(TEXT_COLUMNS if categorize is not None else ()))
    return [header.index(name) if name in header else None for name in wanted]


def _parquet_rows(path: Path, categorize: Categorize | None) -> Iterator[Row | None]:
    try:
        from pyarrow import parquet  # noqa: PLC0415  # an extra
    except ImportError:
        raise SettingsError(f"{path}: Parquet takes litellm-slo-router[parquet], or export it as CSV") from None
    with parquet.ParquetFile(path) as file:
        header = file.schema_arrow.names
        places = _places(header, path, categorize)
        names = [None if at is None else header[at] for at in places]
        for batch in file.iter_batches(BATCH, columns=[name for name in names if name is not None]):
            yield from _batch_rows(batch, names, categorize)


def _batch_rows(
    batch: pyarrow.RecordBatch, names: Sequence[str | None], categorize: Categorize | None
) -> Iterator[Row | None]:
    columns = [[None] * len(batch) if name is None else batch.column(name).to_pylist() for name in names]
    for values in zip(*columns, strict=True):
        try:
            yield row_of(log_of_text([_as_text(value) for value in values]), categorize)
        except ValueError:
            yield None


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
