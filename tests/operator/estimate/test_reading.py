"""All forms in which spend logs leave a proxy give the same rows, without any text."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slo_router.errors import SettingsError
from slo_router.operator.estimate.reading import files
from slo_router.operator.estimate.reading.files import file_rows
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.reading.traffic import Selection, Traffic, at_s
from tests.shared.spend_logs import SECRET, spend_log

NOVEMBER_S = 1_793_491_200.0  # 2026-11-01, UTC
LOGS = [
    spend_log(cached=320),
    spend_log(hour=1, alias=None, cache_hit="True", spend=0),
    spend_log(hour=2, status="failure", completion_tokens=0, spend=0.005),
    spend_log(hour=3, call_type="aembedding"),
    spend_log(hour=4, call_type="anthropic_messages", model_id="", model_group=None),
]
ROWS = [
    Row(
        NOVEMBER_S + 0.12,
        "served",
        "big",
        "large-1",
        "openai/large",
        "app",
        "unknown",
        "session-0",
        1000,
        100,
        320,
        0.006,
    ),
    Row(
        NOVEMBER_S + 3600.12,
        "cache_hit",
        *("big", "large-1", "openai/large", "814b32b5eb"),
        "unknown",
        "session-1",
        1000,
        100,
        0,
        0.0,
    ),
    Row(
        NOVEMBER_S + 7200.12,
        "failed",
        "big",
        "large-1",
        "openai/large",
        "app",
        "unknown",
        "session-2",
        1000,
        0,
        0,
        0.005,
    ),
    Row(
        NOVEMBER_S + 10800.12,
        "other",
        "big",
        "large-1",
        "openai/large",
        "app",
        "unknown",
        "session-3",
        1000,
        100,
        0,
        0.006,
    ),
    Row(
        NOVEMBER_S + 14400.12,
        "served",
        *("openai/large", "openai/large", "openai/large"),
        "app",
        "unknown",
        "session-4",
        1000,
        100,
        0,
        0.006,
    ),
]
Write = Callable[[Path, Sequence[dict[str, Any]]], None]


def _jsonl(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(log) + "\n" for log in logs), encoding="utf-8")


def _gzipped(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(log) + "\n" for log in logs)


def _json(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    path.write_text(json.dumps(logs, indent=1), encoding="utf-8")


def _wrapped(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"data": logs, "total": len(logs), "page": 1}), encoding="utf-8")


def _as_postgres_writes(log: dict[str, Any]) -> dict[str, Any]:
    """A row as Postgres writes it: JSON as text, times without a zone."""
    text = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in log.items()}
    return {**text, "startTime": log["startTime"].replace("T", " ").replace("0000Z", "")}


def _csv(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(logs[0]))
        writer.writeheader()
        writer.writerows(_as_postgres_writes(log) for log in logs)


def _parquet(path: Path, logs: Sequence[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist([_as_postgres_writes(log) for log in logs]), path)


FORMS: dict[str, Write] = {
    "spend.jsonl": _jsonl,
    "spend.jsonl.gz": _gzipped,
    "spend.json": _json,
    "ui.json": _wrapped,
    "spend.csv": _csv,
    "spend.parquet": _parquet,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name, LOGS)
    assert list(file_rows(tmp_path / name, None)) == ROWS


@pytest.mark.parametrize("chunk", [7, 64, 1_000])
def test_a_list_larger_than_a_chunk_is_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(files, "CHUNK", chunk)
    _json(tmp_path / "spend.json", [spend_log(model_group="größer"), *LOGS])
    first, *rest = file_rows(tmp_path / "spend.json", None)
    assert first is not None
    assert first.group == "größer"
    assert rest == ROWS


def test_what_is_no_row_is_counted(tmp_path: Path) -> None:
    (tmp_path / "spend.jsonl").write_text(json.dumps(LOGS[0]) + '\n{"startTime": "soon"}\n{"broken\n', encoding="utf-8")
    traffic = Traffic([str(tmp_path / "spend.jsonl")], Selection())
    assert [row.usd for row in traffic] == [0.006]
    assert (traffic.read, traffic.broken) == (3, 2)


def test_request_records_are_read_too(tmp_path: Path) -> None:
    record = {
        "ts": NOVEMBER_S,
        "request_id": "a",
        "outcome": "success",
        "slo": {},
        "model_group": "smart",
        "deployment": "large",
        "category": "code",
        "key_alias": "app",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 2,
        "cost_usd": 0.1,
    }
    _jsonl(tmp_path / "requests.jsonl", [record])
    assert list(file_rows(tmp_path / "requests.jsonl", None)) == [
        Row(NOVEMBER_S, "served", "smart", "large", "large", "app", "code", "a", 10, 5, 2, 0.1)
    ]


def test_the_task_is_the_one_that_shadow_mode_noted(tmp_path: Path) -> None:
    log = spend_log()
    log["metadata"]["spend_logs_metadata"] = {"slo_router": {"category": "reasoning", "deployment": "small"}}
    _jsonl(tmp_path / "spend.jsonl", [log])
    (row,) = file_rows(tmp_path / "spend.jsonl", lambda group, request: pytest.fail(f"asked of {request} in {group}"))
    assert row is not None
    assert row.task == "reasoning"


@pytest.mark.parametrize("name", FORMS)
def test_kept_prompts_are_read_only_to_tell_the_task(tmp_path: Path, name: str) -> None:
    asked: list[object] = []

    def tell(group: str, request: object) -> str:
        assert group == "big"
        asked.append(request)
        return "summarization"

    FORMS[name](tmp_path / name, [spend_log()])
    (row,) = file_rows(tmp_path / name, tell)
    assert row is not None
    assert row.task == "summarization"
    assert SECRET in str(asked)
    assert SECRET not in str(row)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column startTime, spend, prompt_tokens, completion_tokens, model"),
        ("", "no column startTime"),
    ],
)
def test_what_is_no_export_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "some.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        list(file_rows(tmp_path / "some.csv", None))
    with pytest.raises(SettingsError, match="No such file"):
        list(file_rows(tmp_path / "none.csv", None))


def test_the_selection_lets_pass_what_was_asked_for(tmp_path: Path) -> None:
    _jsonl(tmp_path / "spend.jsonl", LOGS)

    def hours(**asked: Any) -> list[float]:
        return [(row.at_s - NOVEMBER_S) // 3600 for row in Traffic([str(tmp_path / "spend.jsonl")], Selection(**asked))]

    assert hours(since="2026-11-01T02:00:00") == [2, 3, 4]
    assert hours(until="2026-11-01T02:00:00+00:00") == [0, 1]
    assert hours(group="openai/large") == [4]
    assert hours(key="814b32b5eb") == [1]
    assert hours(most=3) == [0, 1, 2]


def test_ages_and_dates_are_told_apart() -> None:
    assert at_s("since", "1d", 100_000.0) == 13_600
    assert at_s("since", "2026-11-01", 0.0) == NOVEMBER_S
    with pytest.raises(SettingsError, match="until: 'soon', expected an age such as 30d, or a date"):
        at_s("until", "soon", 0.0)
