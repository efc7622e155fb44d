"""The report's rows as CSV for a spreadsheet. A name that a spreadsheet would take for a formula is quoted."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path

from slo_router.operator.reporting.rows import Report, Row


def write_csv(path: Path, made: Report) -> None:
    """Writes the total and its parts. The first column tells the kind of the row."""
    parts = (
        ("total", (made.total,)),
        ("deployment", made.deployments),
        ("category", made.categories),
        ("team", made.teams),
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["by", *(one.name for one in fields(Row))])
        for by, rows in parts:
            writer.writerows([by, *map(_cell, asdict(row).values())] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return f"{value[0]:.6g}..{value[1]:.6g}"
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value
