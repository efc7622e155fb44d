"""The agent's own speed against an endpoint that answers at once, in a process of its own.

python -m evaluation.agent.bench_overhead measure                            closed loop, then the sustained open loop
python -m evaluation.agent.bench_overhead measure --rate 800 --requests 8000 how late it sends at a given rate
python -m evaluation.agent.bench_overhead measure --concurrency 64 --requests 5000 --json
python -m evaluation.agent.bench_overhead serve --port 9000                  the endpoint alone, for another client
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evaluation.agent.bench_overhead.lean_server import serve as run_server
from evaluation.agent.bench_overhead.measuring import Bench, Run
from slo_bench.measure import event_loop

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Tokens = Annotated[int, typer.Option(min=1, help="Of an answer, one event each.")]
TokenMs = Annotated[float, typer.Option(min=0.0, help="Between two events; 0 sends all at once.")]


@app.command()
def serve(port: int = 0, tokens: Tokens = 16, token_ms: TokenMs = 0.0) -> None:
    """Serves the endpoint and prints its address."""
    event_loop.run(run_server(port, tokens, token_ms / 1_000))


@app.command()
def measure(
    *,
    rate: Annotated[float | None, typer.Option(min=1.0, help="Requests per second, open loop.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Of the closed loop.")] = 64,
    requests: Annotated[int, typer.Option(min=100)] = 5_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    url: Annotated[str | None, typer.Option(help="Another endpoint, up to and with /v1.")] = None,
    tokens: Tokens = 16,
    token_ms: TokenMs = 0.0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """With --rate an open loop; else a closed loop, then the highest rate that is sent with a lag below 5 ms p99."""
    with _endpoint(url, tokens, token_ms) as api_base:
        runs = event_loop.run(_measure(Bench(api_base), rate, concurrency, requests, rounds))
    if as_json:
        typer.echo(json.dumps([run._asdict() for run in runs], indent=2))
    else:
        Console(width=150).print(_table(runs))


async def _measure(bench: Bench, rate: float | None, concurrency: int, requests: int, rounds: int) -> list[Run]:
    if rate is not None:
        return [await bench.opened(rate, requests) for _ in range(rounds)]
    runs = [await bench.closed(concurrency, requests) for _ in range(rounds)]
    best = await bench.sustained(max(run.rps for run in runs), requests)
    return [*runs, *best]


@contextmanager
def _endpoint(url: str | None, tokens: int, token_ms: float) -> Iterator[str]:
    if url is not None:
        yield url
        return
    command = [sys.executable, "-m", "evaluation.agent.bench_overhead", "serve"]
    command += ["--tokens", str(tokens), "--token-ms", str(token_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield (server.stdout.readline() if server.stdout else "").strip()
        finally:
            server.terminate()


def _table(runs: list[Run]) -> Table:
    table = Table("load")
    for name in ("requests", "errors", "sent/s", "lag p50 ms", "p99", "max", "TTFT p50 ms", "CPU µs/request", "kept"):
        table.add_column(name, justify="right")
    for run in runs:
        lags = (run.lag_p50_ms, run.lag_p99_ms, run.lag_max_ms, run.ttft_p50_ms)
        table.add_row(
            run.shape,
            str(run.requests),
            str(run.errors),
            f"{run.rps:.0f}",
            *("–" if value is None else f"{value:.2f}" for value in lags),
            f"{run.cpu_us_per_request:.0f}",
            "" if run.asked_rps is None else "yes" if run.is_kept else "no",
        )
    return table


if __name__ == "__main__":
    app()
