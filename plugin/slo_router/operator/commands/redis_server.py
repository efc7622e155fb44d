"""`slo-router redis …`: starts, stops and shows the embedded server."""

from __future__ import annotations

import typer

from slo_router.contract.redis import embedded
from slo_router.operator.commands.terminal import AsJson, console, print_json

app = typer.Typer(no_args_is_help=True, help="The Valkey that `redis_url: embedded` starts on this host.")


@app.command()
def start() -> None:
    """Starts the embedded server if it does not run, and prints its URL."""
    console.print(embedded.ensure_running(), soft_wrap=True)


@app.command()
def stop() -> None:
    """Stops the embedded server. Its data is kept for the next start."""
    console.print("stopped" if embedded.stop() else "it was not running")


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Shows whether the embedded server runs, and the directory of its data."""
    found = embedded.status()
    if as_json:
        print_json({"running": found.running, "pid": found.pid, "url": found.url, "directory": str(found.directory)})
    else:
        console.print(f"{'running' if found.running else 'not running'}, data in {found.directory}", soft_wrap=True)
