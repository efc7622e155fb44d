"""How long `slo-router estimate` takes on many spend logs, and how much memory: CSV, JSONL and Postgres.

    python -m evaluation.quality.estimate_speed

Every row is a copy of one that LiteLLM 1.108.7 wrote (`evaluation/data/spend_log.json`; its metadata are 10 kB), with
its own id, time, size, key, model and session. In a file the rows repeat after 10,000. Each file is written twice: with
the columns that docs/estimating-savings.md exports, and with whole rows, as `select *` gives them. The database has
whole rows, in LiteLLM's own schema. The command runs in its own process, as users run it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg import sql

from evaluation.quality.litellm_database import litellm_tables
from evaluation.shared.debian import UnavailableError
from evaluation.shared.results import Aim, Save, conclude
from slo_router.operator.estimate.reading.spend_logs import COLUMNS

RECORDED = Path(__file__).parents[1] / "data" / "spend_log.json"
PROGRAM = (sys.executable, "-c", "from slo_router.operator.cli import app; app()", "estimate")
MODELS = {"gpt-4o": 6.0e-6, "gpt-4.1": 5.0e-6, "gpt-4o-mini": 4.0e-7}  # USD per token, about
EXPORTED = ("user_api_key_alias", "usage_object", "additional_usage_values", "spend_logs_metadata")
KEYS, SESSIONS, DAYS = 200, 50_000, 29
BLOCK = 10_000  # rows of a file that differ
AT_MOST_S, AT_MOST_GB = 60.0, 1.0
MADE = {  # columns of the database's rows, by the expression for row n
    "request_id": "'chatcmpl-' || n",
    "startTime": f"now() at time zone 'utc' - interval '{DAYS} days' * (n / %(count)s::float)",
    "endTime": "now() at time zone 'utc'",
    "model": "(array['gpt-4o', 'gpt-4.1', 'gpt-4o-mini'])[n %% 3 + 1]",
    "model_id": "(array['gpt-4o', 'gpt-4.1', 'gpt-4o-mini'])[n %% 3 + 1]",
    "prompt_tokens": "500 + n * 7 %% 4001",
    "completion_tokens": "20 + n * 13 %% 997",
    "session_id": f"'session-' || n * 11 %% {SESSIONS}",
    "metadata": "jsonb_set(%(recorded)s, '{user_api_key_alias}', to_jsonb('app-' || n %% 200))",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One source with its rows and size: seconds on the clock and of CPU, and the most memory."""

    source: str
    rows: int
    wall_s: float
    cpu_s: float
    peak_gb: float
    source_gb: float

    def __str__(self) -> str:
        return (
            f"{self.source:<24} {self.rows:>9,} rows of {self.source_gb:.1f} GB: {self.wall_s:.1f} s "
            f"({self.cpu_s:.1f} s of CPU), peak {self.peak_gb:.2f} GB"
        )


def logs(count: int) -> Iterator[dict[str, Any]]:
    """`count` different rows, the same each time."""
    recorded, rng = json.loads(RECORDED.read_text(encoding="utf-8")), random.Random(1)
    began = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=DAYS)
    for number in range(count):
        model = rng.choice(list(MODELS))
        prompt, answer = round(rng.lognormvariate(6.6, 1.0)) + 1, round(rng.lognormvariate(5.0, 0.9)) + 1
        recorded["metadata"]["user_api_key_alias"] = f"app-{rng.randrange(KEYS)}"
        at = (began + timedelta(days=DAYS) * (number / count)).isoformat(" ", "milliseconds")
        yield recorded | {
            "request_id": f"chatcmpl-{number:032x}",
            "startTime": at,
            "endTime": at,
            "completionStartTime": at,
            "model": model,
            "model_id": model,
            "model_group": "gpt",
            "spend": (prompt + answer) * MODELS[model],
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "session_id": f"session-{rng.randrange(SESSIONS)}",
            "status": "success",
        }


def exported(log: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the columns that the documentation exports."""
    return {name: log.get(name) for name in COLUMNS} | {"metadata": {name: log["metadata"][name] for name in EXPORTED}}


def write(path: Path, count: int, *, is_whole: bool) -> Path:
    """Writes a file that repeats the same BLOCK of rows. The suffix of `path` sets its form."""
    rows = logs(BLOCK) if is_whole else map(exported, logs(BLOCK))
    block = io.StringIO(newline="")
    if path.suffix == ".jsonl":
        block.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        csv.writer(block).writerows(map(_cell, row.values()) for row in rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerow(next(logs(1)) if is_whole else COLUMNS)
        for _ in range(count // BLOCK):
            file.write(block.getvalue())
    return path


def fill(url: str, count: int) -> float:
    """Makes rows like those of `logs` in LiteLLM's table. Returns the table's size in GB."""
    (log,) = logs(1)
    names = [name for name in log if name not in MADE]
    statement = sql.SQL(
        'insert into "LiteLLM_SpendLogs" ({names}, {made}) select {values}, {expressions} '
        "from generate_series(1, {count}) n"
    ).format(
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        made=sql.SQL(", ").join(map(sql.Identifier, MADE)),
        values=sql.SQL(", ").join(sql.Literal(_cell(log[name])) for name in names),
        expressions=sql.SQL(", ").join(map(sql.SQL, MADE.values())),
        count=sql.Literal(count),
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, {"recorded": json.dumps(log["metadata"]), "count": count})
        connection.execute('vacuum analyze "LiteLLM_SpendLogs"')
        (size,) = connection.execute("select pg_total_relation_size('\"LiteLLM_SpendLogs\"')").fetchone() or (0,)
    return float(size) / 1e9


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value


def timed(source: str, rows: int, size_gb: float, *arguments: str) -> Run:
    """Runs the command in its own process."""
    began_s = time.perf_counter()
    with subprocess.Popen([*PROGRAM, *arguments, "--json"], stdout=subprocess.PIPE) as process:
        said = json.load(process.stdout) if process.stdout is not None else {}
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took_s = time.perf_counter() - began_s
    if process.returncode or said["requests"] != rows:
        raise RuntimeError(f"{source}: {said.get('requests')} of {rows} rows")
    run = Run(source, rows, took_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, size_gb)
    print(run, flush=True)
    return run


def of_files(folder: Path, rows: int, whole_rows: int) -> Iterator[Run]:
    """Runs on CSV and JSONL files, with the exported columns and with whole rows."""
    for is_whole, count in ((False, rows), (True, whole_rows)):
        for suffix in (".csv", ".jsonl"):
            path = write(folder / f"spend{suffix}", count, is_whole=is_whole)
            name = f"{suffix[1:].upper()}, {'whole rows' if is_whole else 'as exported'}"
            yield timed(name, count, path.stat().st_size / 1e9, str(path))
            path.unlink()


def of_database(rows: int) -> Iterator[Run]:
    """Runs on LiteLLM's own table, with whole rows."""
    try:
        with litellm_tables() as url:
            size_gb = fill(url, rows)
            yield timed("Postgres, whole rows", rows, size_gb, url, "--since", "365d")
    except UnavailableError as error:
        print(f"no Postgres: {error}", file=sys.stderr)


def main(
    rows: Annotated[int, typer.Option(help="Of each source.", min=BLOCK)] = 1_000_000,
    whole_rows: Annotated[int, typer.Option(help="Of the whole files: a million are 11 GB.", min=BLOCK)] = 100_000,
    *,
    is_saved: Save = False,
) -> None:
    """How long `slo-router estimate` takes on many spend logs, and how much memory."""
    with tempfile.TemporaryDirectory() as place:
        runs = [*of_files(Path(place), rows, whole_rows), *of_database(rows)]
    judged = [run for run in runs if run.rows == rows]
    aims = [
        *(Aim.at_most(AT_MOST_S, f"{run.source}: {rows:,} rows take", run.wall_s, 1, " s") for run in judged),
        *(Aim.at_most(AT_MOST_GB, f"{run.source}: they take", run.peak_gb, 2, " GB") for run in judged),
    ]
    conclude({"runs": runs}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
