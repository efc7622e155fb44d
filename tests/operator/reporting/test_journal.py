"""Records stream from Redis or rotated files. Lines that are no record are counted; unwanted records are left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from slo_router.errors import SettingsError
from slo_router.operator.reporting.journal import (
    PAGE,
    Journal,
    Selection,
    age_s,
    file_lines,
    find_files,
    newest_stream_lines,
    stream_lines,
)
from tests.shared.builders import NOW_S
from tests.shared.record_builders import line_of

EVERYTHING = Selection()


def ids(lines: Iterator[bytes] | Iterator[str] | list[str], selection: Selection = EVERYTHING) -> list[str]:
    return [record.request_id for record in Journal(lines, selection)]


def test_a_broken_line_is_counted_and_the_next_is_read() -> None:
    journal = Journal(
        [line_of(request_id="a"), "{", "[]", "null", b"\xff\xfe", "", line_of(request_id="b")], EVERYTHING
    )
    assert [record.request_id for record in journal] == ["a", "b"]
    assert (journal.read, journal.broken, journal.left_out) == (7, 5, 0)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, ["old", "new", "other"]),
        (Selection(since_s=NOW_S), ["new", "other"]),
        (Selection(group="smart"), ["old", "new"]),
        (Selection(team="blue"), ["old", "new"]),
        (Selection(key="alias"), ["old", "new"]),
        (Selection(key="h2"), ["other"]),
        (Selection(since_s=NOW_S, team="blue"), ["new"]),
        (Selection(team="green"), []),
    ],
)
def test_only_what_was_asked_for_passes(selection: Selection, expected: list[str]) -> None:
    lines = [
        line_of(request_id="old", ts=NOW_S - 1),
        line_of(request_id="new", ts=NOW_S),
        line_of(request_id="other", ts=NOW_S, model_group="g", team_id=None, key_alias=None, key_hash="h2"),
    ]
    journal = Journal(lines, selection)
    assert [record.request_id for record in journal] == expected
    assert journal.left_out == 3 - len(expected)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000), ("1w", 604_800)]
)
def test_an_age_has_a_unit(text: str, seconds: float) -> None:
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-3d", "3 days", "1.5h", "", "9999999d"])
def test_an_age_that_is_none_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"since: .*expected a number and s, m, h, d or w"):
        age_s(text)


# --- files


def test_every_workers_files_and_the_rotated_ones_are_found_oldest_first(tmp_path: Path) -> None:
    own = ["r.7.jsonl.2", "r.7.jsonl.1", "r.7.jsonl", "r.8.jsonl"]
    for number, name in enumerate([*own, "r.jsonl.bak", "rr.7.jsonl", "r.x.jsonl", "r.7.txt"]):
        (tmp_path / name).write_text(line_of(request_id=name) + "\n")
        os.utime(tmp_path / name, (number, number))
    assert [path.name for path in find_files(tmp_path / "r.jsonl")] == own
    assert ids(file_lines(find_files(tmp_path / "r.jsonl"))) == own


def test_a_file_is_taken_as_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text(line_of(request_id="a") + "\n\n" + line_of(request_id="b"))
    assert ids(file_lines(find_files(tmp_path / "one.log"))) == ["a", "b"]


@pytest.mark.parametrize("name", ["r.jsonl", "nowhere/r.jsonl"])
def test_a_log_without_files_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"r\.jsonl: no such file"):
        find_files(tmp_path / name)


def test_a_file_last_written_before_is_not_opened_and_one_rotated_away_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "r.1.jsonl").write_text("not opened")
    os.utime(tmp_path / "r.1.jsonl", (NOW_S, NOW_S))
    (tmp_path / "r.2.jsonl").write_text(line_of(request_id="a"))
    os.utime(tmp_path / "r.2.jsonl", (NOW_S + 10, NOW_S + 10))
    paths = [*find_files(tmp_path / "r.jsonl"), tmp_path / "gone"]
    assert [line[:1] for line in file_lines(paths, since_s=NOW_S + 5)] == [b"{"]


# --- the stream


def test_the_stream_is_read_whole_page_by_page_and_both_ways(client: redis.Redis) -> None:
    count = 2 * PAGE + 1
    for number in range(count):
        client.xadd("s", {"record": line_of(request_id=f"r{number}")} if number else {"other": "no record"})
    assert ids(stream_lines(client, "s")) == [f"r{number}" for number in range(1, count)]
    assert ids(newest_stream_lines(client, "s")) == [f"r{number}" for number in range(count - 1, 0, -1)]
    assert ids(stream_lines(client, "nothing there")) == []


def test_the_stream_is_read_from_a_time_on_with_a_minute_for_clocks_that_differ(client: redis.Redis) -> None:
    for second in (100, 200, 300):
        client.xadd("s", {"record": line_of(request_id=f"r{second}")}, id=f"{second * 1_000}-0")
    assert ids(stream_lines(client, "s", since_s=261)) == ["r300"]
    assert ids(stream_lines(client, "s", since_s=260)) == ["r200", "r300"]
