"""Reads a recorded trace: a CSV file, gzipped or not, with one request per line in the order of arrival.

    t_s,prompt_tokens,output_tokens
    0.0,374,44
    4.314579,396,109

`t_s` is seconds from any origin. The token columns may be missing or empty: then the workload's sizes count.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path

from slo_bench.errors import WorkloadError
from slo_bench.load.arrivals import Arrival

MAX_TOKENS = 10_000_000
MAX_S = 1e12
_SIZES = ("prompt_tokens", "output_tokens")


def load_trace(path: Path, count: int) -> tuple[Arrival, ...]:
    """The first `count` requests of a file. Raises WorkloadError with file, line and column."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            return parse_trace(lines, path.name, count)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise WorkloadError(f"{path}: {type(error).__name__}, expected a trace as CSV, gzipped or not") from error


def parse_trace(lines: Iterable[str], name: str, count: int) -> tuple[Arrival, ...]:
    """Reads CSV text; `name` stands for the file in errors."""
    rows = csv.DictReader(lines)
    if "t_s" not in (rows.fieldnames or ()):
        raise WorkloadError(f"{name}:1: column t_s: missing, expected t_s and perhaps prompt_tokens, output_tokens")
    found: list[Arrival] = []
    for row in rows:
        where = f"{name}:{rows.line_num}"
        at_s = _number(row, "t_s", MAX_S, where)
        if at_s is None or (found and at_s < found[-1].at_s):
            raise WorkloadError(f"{where}: t_s: {row['t_s']!r}, expected seconds, not before those of the line above")
        found.append(Arrival(at_s, *(_size(row, column, where) for column in _SIZES)))
        if len(found) == count:
            break
    if not found:
        raise WorkloadError(f"{name}: no requests, expected at least one")
    return tuple(found)


def _size(row: Mapping[str, str | None], column: str, where: str) -> int | None:
    value = _number(row, column, MAX_TOKENS, where)
    return None if value is None else max(int(value), 1)


def _number(row: Mapping[str, str | None], column: str, most: float, where: str) -> float | None:
    text = row.get(column) or ""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise WorkloadError(f"{where}: {column}: {text!r}, expected a number from 0 to {most:g}")
    return value
