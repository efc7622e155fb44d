"""`slo-router`: checks a configuration, and looks after the embedded server.

Exit status: 0 well, 1 something to mend, 2 wrong usage.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from slo_router import embedded
from slo_router.config import Settings, load_settings
from slo_router.contract import metrics_key, read_metrics
from slo_router.domain import Facts
from slo_router.errors import SettingsError
from slo_router.redis_link import LINK_ERRORS, connect_blocking, masked

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
redis_app = typer.Typer(no_args_is_help=True, help="The Valkey that `redis_url: embedded` starts on this host.")
app.add_typer(redis_app, name="redis")
console = Console()
problem = Console(stderr=True, style="red")


@app.callback()
def main() -> None:
    """Routes each request of a LiteLLM proxy to the cheapest deployment that meets its SLO."""


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The proxy's YAML file.")] = Path("litellm_config.yaml"),
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the file only, not at Redis.")] = False,
) -> None:
    """Validates the YAML and says what is known and what is missing for each managed deployment.

    Example: slo-router check litellm_config.yaml
    """
    try:
        settings = load_settings(config)
        measured = {} if offline else _measured(settings)
    except SettingsError as error:
        problem.print(str(error), highlight=False, markup=False)
        raise typer.Exit(1) from None
    table = Table("group", "deployment", "price", "quality", "context", "measured categories")
    for deployment in settings.deployments:
        facts = deployment.facts
        found = ", ".join(measured.get(facts.deployment_id, ())) or ("not looked at" if offline else "none")
        quality = ", ".join(f"{name} {value:g}" for name, value in facts.quality.items()) or "unknown"
        context = "unknown" if facts.context_tokens is None else f"{facts.context_tokens:,} tokens"
        table.add_row(deployment.group, facts.deployment_id, _price(facts), quality, context, found)
    console.print(table)


@redis_app.command()
def start() -> None:
    """Starts the embedded server where it does not run, and prints its URL."""
    console.print(embedded.ensure_running(), soft_wrap=True)


@redis_app.command()
def stop() -> None:
    """Stops the embedded server; what it holds is kept for the next start."""
    console.print("stopped" if embedded.stop() else "it was not running")


@redis_app.command()
def status() -> None:
    """Says whether the embedded server runs, and where its data lies."""
    found = embedded.status()
    console.print(f"{'running' if found.running else 'not running'}, data in {found.directory}", soft_wrap=True)


def _measured(settings: Settings) -> dict[str, list[str]]:
    url = settings.plugin.redis_url
    if url is None:
        console.print("no redis_url: only the file is checked")
        return {}
    found: dict[str, list[str]] = {}
    now_s = time.time()
    try:
        client = connect_blocking(url)
        for deployment in settings.deployments:
            name = deployment.facts.deployment_id
            for category in settings.plugin.groups[deployment.group].known_categories:
                key = metrics_key(settings.plugin.key_prefix, name, category)
                metrics, bad = read_metrics(client.hgetall(key), now_s)  # type: ignore[arg-type]  # not a coroutine here
                for value in bad:
                    console.print(f"{key}: {value.field} is {value.value!r}, expected {value.expected}", markup=False)
                if metrics is not None:
                    found.setdefault(name, []).append(
                        f"{category} ({(now_s - metrics.measured_at_s) / 3600:.1f} h ago)"
                    )
        client.close()
    except LINK_ERRORS as error:
        raise SettingsError(
            f"Redis at {masked(url)}: {type(error).__name__}, expected a server that answers"
        ) from error
    return found


def _price(facts: Facts) -> str:
    if facts.gpu_usd_per_hour is not None:
        return f"${facts.gpu_usd_per_hour:g} per GPU hour"
    if facts.input_usd_per_token is None or facts.output_usd_per_token is None:
        return "unknown"
    return f"${facts.input_usd_per_token * 1e6:g} in, ${facts.output_usd_per_token * 1e6:g} out per 1M tokens"
