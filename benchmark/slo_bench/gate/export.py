"""The history as a file: one row per run, as CSV, or as Parquet where pyarrow is installed.

Columns: the entry's own (kind, at_s, deployment, …), one for each figure that occurs, and `scores`, a JSON object of
scores by item. An unmeasured figure is empty (CSV) or null (Parquet).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from slo_bench.errors import BenchError
from slo_bench.gate.entry import Entry

Row = dict[str, str | float | int | None]


def rows(entries: Sequence[Entry]) -> list[Row]:
    """One per entry, all with the same columns."""
    figures = sorted({name for entry in entries for name in entry.figures})
    return [_row(entry) | {name: entry.figures.get(name) for name in figures} for entry in entries]


def export(entries: Sequence[Entry], path: Path) -> None:
    """Writes a .csv or .parquet file. Raises BenchError where it can't."""
    if not entries:
        raise BenchError(f"--export {path}: the history is empty, expected at least one run")
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    writer = writers.get(path.suffix)
    if writer is None:
        raise BenchError(f"--export {path}: {path.suffix!r} is no known format, expected {' or '.join(writers)}")
    try:
        writer(rows(entries), path)
    except OSError as error:
        raise BenchError(f"--export {path}: cannot be written: {error.strerror}") from error


def _row(entry: Entry) -> Row:
    row = asdict(entry)
    del row["figures"]
    scores = row.pop("scores")
    return {**row, "scores": json.dumps(scores) if scores else None}


def _write_csv(table: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def _write_parquet(table: Sequence[Row], path: Path) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra: 45 MB that only this needs
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise BenchError(
            f"--export {path}: pyarrow is missing, expected it for Parquet: pip install 'litellm-slo-router[parquet]', "
            "or export to .csv"
        ) from error
    pq.write_table(pa.Table.from_pylist(list(table)), path)
