"""`slo-bench report`, and `--html` of `run` and `sweep`: one HTML page of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Annotated

import typer

from slo_bench.commands.past import asked, histories
from slo_bench.commands.terminal import ending_on_faults, store_of
from slo_bench.errors import BenchError
from slo_bench.run import options
from slo_bench.show import measured
from slo_bench.show.page import as_html
from slo_bench.show.rows import Page, RatePoint
from slo_bench.store import Store
from slo_router.contract.settings.config import load_settings

HELP = """Writes one HTML page of what was measured: the last runs, quality against cost, and the history.

\b
  slo-bench report --config litellm_config.yaml --html report.html

The page is one file that loads nothing from elsewhere. `run` and `sweep` write the same page with --html. Only a
sweep's page has latency against rate.
"""
TITLE = "Measured deployments"

Output = Annotated[Path, typer.Option("--html", metavar="FILE", help="The page.")]


def report(*, config: options.Config, html: Output, redis_url: options.RedisUrl = None) -> None:
    """Writes the page. Exits with 0, or with 2 where there is no Redis or the file cannot be written."""
    with ending_on_faults(soft_wrap=True):
        write_report(html, store_of(load_settings(config), redis_url))


def write_report(
    path: Path, store: Store | None, own: measured.Histories | None = None, rates: Sequence[RatePoint] = ()
) -> None:
    """Writes the page from the history in `store`, else only from `own` results. Raises BenchError where it can't."""
    found = (own or {}) if store is None else asked(store, histories)
    page = Page(
        TITLE,
        time(),
        measured.latencies(found),
        tuple(rates),
        measured.values(found),
        measured.courses(found),
    )
    try:
        path.write_text(as_html(page), encoding="utf-8")
    except OSError as error:
        raise BenchError(f"--html: {path}: {error.strerror}, expected a file that can be written") from error
