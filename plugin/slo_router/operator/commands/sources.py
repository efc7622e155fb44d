"""The source of a command's request records: the files in `--log`, else the Redis stream, else the YAML's files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.redis.link import BlockingClient
from slo_router.contract.settings.config import Settings
from slo_router.contract.units import MS_PER_S, minute
from slo_router.errors import SettingsError
from slo_router.operator.commands.terminal import redis_of, remarks
from slo_router.operator.reporting.journal import Journal, Selection, age_s, file_lines, find_files, stream_lines

Since = Annotated[str, typer.Option("--since", help="How far to look back: 90m, 12h, 30d, 4w.")]
LogFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--log",
        help="Read a JSONL log instead of the Redis stream: the path in log.jsonl_path, which includes its workers' "
        "and rotated files. Repeat it for the logs of several hosts.",
    ),
]
Group = Annotated[str | None, typer.Option("--group", help="Only this group of model_list.")]
Team = Annotated[str | None, typer.Option("--team", help="Only this team id.")]
Key = Annotated[str | None, typer.Option("--key", help="Only this virtual key: its alias or hash.")]


class Choice(NamedTuple):
    """The options that select the records to read."""

    since: str
    group: str | None
    team: str | None
    key: str | None
    log: list[Path] | None


@contextmanager
def open_journal(settings: Settings, choice: Choice) -> Iterator[Journal]:
    """The selected records. Raises SettingsError where there is no source of records."""
    since_s = time.time() - age_s(choice.since)
    selection = Selection(since_s, choice.group, choice.team, choice.key)
    paths = log_paths(settings, choice.log)
    if paths is not None:
        yield Journal(file_lines([file for path in paths for file in find_files(path)], since_s), selection)
        return
    with redis_of(settings) as client:
        if client is None:
            raise SettingsError("no records: expected redis_url or log.jsonl_path in the YAML, or --log FILE")
        stream = settings.plugin.key_prefix + REQUESTS_STREAM
        _tell_if_trimmed(client, stream, since_s, settings.plugin.log.stream_maxlen)
        yield Journal(stream_lines(client, stream, since_s), selection)


def log_paths(settings: Settings, given: list[Path] | None) -> list[Path] | None:
    """The JSONL logs to read; `None` to read the Redis stream."""
    if given:
        return given
    configured = settings.plugin.log.jsonl_path
    return [Path(configured)] if settings.plugin.redis_url is None and configured is not None else None


def _tell_if_trimmed(client: BlockingClient, stream: str, since_s: float, maxlen: int) -> None:
    """Warns if the stream has dropped records after `since_s`: it keeps a number of entries, not a time."""
    oldest = client.xrange(stream, count=1)
    length = client.xlen(stream)
    if not oldest or not isinstance(length, int) or length < maxlen:
        return
    first_s = int(str(oldest[0][0]).partition("-")[0]) / MS_PER_S
    if first_s > since_s:
        remarks.print(
            f"the stream is full and starts at {minute(first_s)} UTC; older records may be in the files: --log FILE",
            style="yellow",
            highlight=False,
        )
