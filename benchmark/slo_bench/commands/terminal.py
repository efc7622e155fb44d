"""The subcommands' common parts: their consoles, their end after a fault, lists of names, and the store."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from slo_bench.errors import BenchError
from slo_bench.store import Store
from slo_bench.summary.results import NOTHING_MEASURED
from slo_router.contract.settings.config import Settings
from slo_router.errors import SloRouterError

PLAIN_WIDTH = 140  # columns where the output is no terminal, so that tables in logs stay whole


def console(*, stderr: bool = False) -> Console:
    """The standard output, or the error output, which gets progress and remarks."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # the locale may lack a dash or an arrow
    return Console(stderr=stderr, markup=False, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


@contextmanager
def ending_on_faults(*, soft_wrap: bool = False) -> Iterator[None]:
    """Prints a SloRouterError of the block to the error output, and ends the command with exit code 2."""
    try:
        yield
    except SloRouterError as error:
        console(stderr=True).print(str(error), soft_wrap=soft_wrap)
        raise typer.Exit(NOTHING_MEASURED) from error


def names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def tell_unknown(settings: Settings) -> None:
    """Prints which of the proxy's variables are not set here, for results may then get another deployment id."""
    for note in settings.notes:
        if "not set here" in note:
            console(stderr=True).print(note, soft_wrap=True)


def store_of(settings: Settings, redis_url: str | None) -> Store:
    """The store of results: from the option, else from the configuration. Raises BenchError where neither names one."""
    url = redis_url or settings.plugin.redis_url
    if url is None:
        raise BenchError(
            "callback_settings.slo_router.redis_url: missing, expected where to write the results; set it, give "
            "--redis-url, or measure with --no-publish"
        )
    return Store(url, settings.plugin.key_prefix)
