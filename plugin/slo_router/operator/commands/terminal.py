"""The commands' common parts: types of options, consoles, and how a problem ends a command.

Results go to standard output. Remarks and problems go to standard error, so that `--json` can be piped.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slo_router.contract.redis.link import LINK_ERRORS, BlockingClient, connect_blocking, error_kind, masked
from slo_router.contract.settings.config import Settings
from slo_router.errors import SettingsError

Config = Annotated[Path, typer.Option("--config", "-c", help="The proxy's YAML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

DEFAULT_CONFIG = Path("litellm_config.yaml")
UNKNOWN = "–"

PIPED_WIDTH = 160  # characters of a table that is not printed to a terminal

for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="replace")  # the locale may lack a dash or an arrow

console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
remarks = Console(stderr=True)


class _Remarks(logging.Handler):
    """Shows a log record as a remark."""

    def emit(self, record: logging.LogRecord) -> None:
        remarks.print(record.getMessage(), style="yellow", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def problems(*, warn: bool = True) -> Iterator[None]:
    """Turns this package's errors into one red message and exit status 1, and its warnings into remarks if `warn`."""
    log = logging.getLogger("slo_router")
    handler, propagate = _Remarks() if warn else logging.NullHandler(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    except SettingsError as error:
        remarks.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells that the block has written a file. If it could not, prints one red message and exits with status 1."""
    with problems():
        try:
            yield
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}, expected a path to write to") from error
    remarks.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def redis_of(settings: Settings) -> Iterator[BlockingClient | None]:
    """A client for the YAML's `redis_url`, `None` without one. Raises SettingsError where Redis fails."""
    url = settings.plugin.redis_url
    if url is None:
        yield None
        return
    try:
        client = connect_blocking(url)
        try:
            yield client
        finally:
            client.close()
    except LINK_ERRORS as error:
        raise SettingsError(f"Redis at {masked(url)}: {error_kind(error)}, expected a server that answers") from error


def print_json(value: object) -> None:
    """JSON on standard output, whatever the terminal's width."""
    typer.echo(json.dumps(value, indent=2, default=str))


def make_table(title: str, *columns: str) -> Table:
    """A table in the common style. A column whose name starts with `>` is aligned to the right."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    return table


def usd(value: float | None) -> str:
    """USD with 2, 4 or 7 decimals, by size: `$1,234.56`, `$0.0123`."""
    if value is None:
        return UNKNOWN
    digits = 2 if abs(value) >= 100 else 4 if abs(value) >= 0.01 or value == 0 else 7
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share (0..1) as a percentage."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def between(interval: tuple[float, float] | None) -> str:
    """An interval of shares (0..1): `12.3 to 14.5 %`."""
    return UNKNOWN if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def number(value: float | None, digits: int = 0) -> str:
    """A plain number."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def span(seconds: float) -> str:
    """A duration in a fitting unit: `4 s`, `12 min`, `3.5 h`, `2.0 d`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
