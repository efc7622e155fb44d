"""`slo-bench history`: shows earlier runs as a table, JSON or a file, and lets a held deployment pass."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from slo_bench.commands.past import asked, histories
from slo_bench.commands.terminal import console, ending_on_faults, names, store_of
from slo_bench.errors import BenchError
from slo_bench.gate.alerts import latest_alerts
from slo_bench.gate.entry import Entry
from slo_bench.gate.export import export as export_to
from slo_bench.gate.gatekeeper import accept as accept_last
from slo_bench.gate.overview import lines, table
from slo_bench.run import options
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import load_settings

HELP = """Shows the earlier runs of each deployment, with the verdicts of the regression gate.

\b
  slo-bench history --config litellm_config.yaml
  slo-bench history --config litellm_config.yaml --deployments qwen-7b --json
  slo-bench history --config litellm_config.yaml --export history.parquet

\b
Show the drops that the gate found, and let a deployment pass again whose drop is wanted or explained:
  slo-bench history --config litellm_config.yaml --alerts
  slo-bench history --config litellm_config.yaml --accept qwen-7b --categories ner

After --accept the next runs are compared with the last run. Four months of nightly runs are kept.
"""

Export = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the runs to a .csv or .parquet file.")]
Accept = Annotated[str, typer.Option(metavar="ID,ID", help="Let these deployments pass quality floors again.")]
Alerts = Annotated[bool, typer.Option("--alerts", help="Show what got worse, instead of the runs.")]


def history(
    *,
    config: options.Config,
    deployments: options.Deployments = "",
    categories: options.Categories = "",
    export: Export = None,
    accept: Accept = "",
    alerts: Alerts = False,
    redis_url: options.RedisUrl = None,
    as_json: options.AsJson = False,
) -> None:
    """Shows, exports or accepts runs. Exits with 0, or with 2 where it could not."""
    wanted, only = names(deployments), names(categories)

    async def ask(link: AsyncClient, prefix: str) -> None:
        if accept:
            await _accept(link, prefix, names(accept), only)
            return
        if alerts:
            await _show_alerts(link, prefix, as_json=as_json)
            return
        found = await histories(link, prefix, wanted, only)
        entries = [entry for cell in found.values() for entry in cell]
        if export is not None:
            export_to(entries, export)
            console(stderr=True).print(f"{export}: {len(entries)} runs")
        elif as_json:
            typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        else:
            console().print(table([line for cell in found.values() for line in lines(cell)]))

    with ending_on_faults():
        asked(store_of(load_settings(config), redis_url), ask)


async def _accept(link: AsyncClient, prefix: str, deployments: tuple[str, ...], categories: tuple[str, ...]) -> None:
    found = await histories(link, prefix, deployments, categories)
    cells = [cell for cell in found if cell.kind == "quality"]
    missing = set(deployments) - {cell.deployment for cell in cells}
    if missing:
        raise BenchError(f"--accept: {', '.join(sorted(missing))} has no quality run, expected one to accept")
    for cell in cells:
        entry = await accept_last(link, prefix, cell.deployment, cell.category)
        console(stderr=True).print(_accepted(entry))


def _accepted(entry: Entry) -> str:
    return f"{entry.deployment} {entry.category}: {entry.figures['quality_score']:.3f} is the new baseline"


async def _show_alerts(link: AsyncClient, prefix: str, *, as_json: bool) -> None:
    found = await latest_alerts(link, prefix)
    if as_json:
        typer.echo(json.dumps([asdict(alert) for alert in found], indent=2))
        return
    for alert in found:
        console().print(alert.line(), soft_wrap=True)
