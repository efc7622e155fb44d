"""Reads request records from the Redis stream or the rotated JSONL files, in constant memory.

    requests.jsonl (`log.jsonl_path`) → requests.PID.jsonl of every worker, and the rotated .1, .2, … of each

A line that is not a record is counted and skipped. Stream and files hold the same records, so only one of them is read.
The files keep more records (`jsonl_max_mb` × `jsonl_backups` per worker). The stream has the records of all hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

from slo_router.contract.redis.link import BlockingClient
from slo_router.errors import SettingsError
from slo_router.operator.replay.recorded import Recorded, decode

Entry: TypeAlias = tuple[str, dict[str, str]]

PAGE = 1_000
REDIS_SKEW_S = 60.0  # the clock of Redis, which stamps the entries, may be this far from the proxies' clocks
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records count. `key` is a virtual key's hash or alias."""

    since_s: float = 0.0  # Unix seconds
    group: str | None = None
    team: str | None = None
    key: str | None = None

    def takes(self, record: Recorded) -> bool:
        """Whether the record is selected."""
        return (
            record.ts >= self.since_s
            and (self.group is None or record.model_group == self.group)
            and (self.team is None or record.team_id == self.team)
            and (self.key is None or self.key in (record.key_hash, record.key_alias))
        )


class Journal:
    """The selected records in `lines`. `read`, `broken` and `left_out` count the lines."""

    def __init__(self, lines: Iterable[bytes | str], selection: Selection) -> None:
        self._lines = lines
        self._selection = selection
        self.read = self.broken = self.left_out = 0

    def __iter__(self) -> Iterator[Recorded]:
        takes = self._selection.takes
        for line in self._lines:
            self.read += 1
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeError):
                self.broken += 1
                continue
            if takes(record):
                yield record
            else:
                self.left_out += 1


def age_s(text: str) -> float:
    """`30d`, `12h`, `90m`, `2w` → seconds. Raises SettingsError for other text."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None:
        raise SettingsError(f"since: {text!r}, expected a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _UNITS_S[found[2]]


def stream_lines(client: BlockingClient, stream: str, since_s: float = 0.0) -> Iterator[str]:
    """The records of a Redis stream from `since_s` on, as JSON, oldest first. Raises redis errors."""
    start = str(max(int(since_s - REDIS_SKEW_S), 0) * 1_000)  # an entry is written after its request's end
    while True:
        entries = cast("list[Entry]", client.xrange(stream, min=start, count=PAGE))
        yield from (fields.get("record", "") for _, fields in entries)
        if len(entries) < PAGE:
            return
        start = f"({entries[-1][0]}"


def newest_stream_lines(client: BlockingClient, stream: str) -> Iterator[str]:
    """The records of a Redis stream, as JSON, newest first. Raises redis errors."""
    end = "+"
    while True:
        entries = cast("list[Entry]", client.xrevrange(stream, max=end, count=PAGE))
        yield from (fields.get("record", "") for _, fields in entries)
        if len(entries) < PAGE:
            return
        end = f"({entries[-1][0]}"


def file_lines(paths: Sequence[Path], since_s: float = 0.0) -> Iterator[bytes]:
    """The lines of the files. Files last written before `since_s` are skipped. Raises SettingsError."""
    for path in paths:
        try:
            if path.stat().st_mtime >= since_s:
                with path.open("rb") as file:
                    yield from (line for line in file if line != b"\n")
        except FileNotFoundError:
            continue  # rotated away meanwhile
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}, expected a file of request records") from error


def find_files(path: Path) -> list[Path]:
    """All files of one `log.jsonl_path`: its own, every worker's, and the rotated ones, oldest first.

    Raises SettingsError where there is none.
    """
    suffix = path.suffix or ".jsonl"
    own = re.compile(rf"{re.escape(path.stem)}(\.\d+)?{re.escape(suffix)}(\.\d+)?")
    folder = path.parent
    found = [one for one in folder.iterdir() if own.fullmatch(one.name)] if folder.is_dir() else []
    if path.is_file() and path not in found:
        found.append(path)
    if not found:
        raise SettingsError(f"{path}: no such file and no worker's beside it, expected what log.jsonl_path names")
    return sorted(found, key=lambda one: (one.stat().st_mtime, one.name))
