"""The agent beside guidellm and aiperf on identical work: do the figures agree, and which sends fastest?

    python -m evaluation.agent.bench_peers agreement [--rounds 5]    latencies and throughput of an emulated endpoint
    python -m evaluation.agent.bench_peers speed [--rounds 3]        requests per second against one that answers at
                                                                     once, then how late the agent sends at the best
                                                                     peer's rate

The same prompts in the same order, as many at a time, up to as many tokens, against the same endpoint; the tools take
turns, and ratios are taken within a round. The peers are installed into `.venv-peers` on the first call.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.agent.bench_peers.peers import Installed, install
from evaluation.agent.bench_peers.tools import MODEL, AiPerf, Figures, GuideLlm, Ours, Tool, Work, fresh, in_our_order
from evaluation.shared.sample import words
from slo_bench.prompts.workload import Prompt

TOLERANCE, LAG_LIMIT_MS = 0.05, 5.0
LEAST_DONE = 0.95  # guidellm now and then cancels the last request that it started
COMPARED = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "output_tps")
EMULATED = ("--ttft-ms", "100", "--prefill-us-per-token", "20", "--tpot-ms", "10", "--slots", "16", "--jitter", "0.05")
HOME = Path(".venv-peers")

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None, pretty_exceptions_show_locals=False)
console = Console(width=120)
Rounds = Annotated[int, typer.Option(min=1, help="Of all tools in turn.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
Requests = Annotated[int, typer.Option(min=10, help="Of each tool in each round.")]
Home = Annotated[Path, typer.Option(help="Where the peers are installed.")]


@app.command()
def agreement(rounds: Rounds = 5, requests: Requests = 120, concurrency: Concurrency = 4, home: Home = HOME) -> None:
    """Median latencies and throughput of each tool, and ours over theirs."""
    tools = _tools(install(home, console))
    with _serving(
        [sys.executable, "-m", "evaluation.emulator", "--until-stdin-closes", "--model", MODEL, *EMULATED]
    ) as url:
        found = _rounds(tools, Work(_prompts(requests), concurrency, url), rounds)
    _show(found)
    table = Table("ours ÷", *COMPARED, title="by round: median (lowest to highest)", title_justify="left")
    worst = 0.0
    for peer in list(found)[1:]:
        cells = []
        for name in COMPARED:
            ratios = _ratios(found["slo-bench"], found[peer], name)
            worst = max(worst, abs(statistics.median(ratios) - 1)) if ratios else worst
            cells.append(_spread(ratios, ".3f"))
        table.add_row(peer, *cells)
    console.print(table)
    console.print(
        f"bar: within {TOLERANCE:.0%} at the median: {'kept' if worst <= TOLERANCE else 'MISSED'}, {worst:.1%}"
    )


@app.command()
def speed(rounds: Rounds = 3, requests: Requests = 4_000, concurrency: Concurrency = 64, home: Home = HOME) -> None:
    """Requests per second of each tool in a closed loop, and our lag at the best peer's rate."""
    tools = _tools(install(home, console))
    with _serving([sys.executable, "-m", "evaluation.agent.bench_overhead", "serve"]) as url:
        found = _rounds(tools, Work(_prompts(requests), concurrency, url), rounds)
        rates = {name: [run.requests_per_s for run in runs] for name, runs in found.items()}
        table = Table(
            "tool", "requests per second", title="closed loop: median (lowest to highest)", title_justify="left"
        )
        for name, values in rates.items():
            table.add_row(name, _spread(values, ".0f"))
        console.print(table)
        ours, best = statistics.median(rates["slo-bench"]), max(statistics.median(rates[t.name]) for t in tools[1:])
        console.print(f"ours ÷ best peer: {ours / best:.2f}; bar: at least 1: {'kept' if ours >= best else 'MISSED'}")
        lags = [_lag_ms(url, best, requests) for _ in track(range(rounds), "our lag", console=console)]
    verdict = "kept" if statistics.median(lags) < LAG_LIMIT_MS else "MISSED"
    console.print(
        f"lag p99 at {best:.0f}/s, Poisson: {_spread(lags, '.2f')} ms; bar: below {LAG_LIMIT_MS:g} ms: {verdict}"
    )


def _tools(installed: Installed) -> list[Tool]:
    return [Ours(), GuideLlm(installed), AiPerf(installed)]


def _prompts(count: int) -> list[Prompt]:
    """All unlike, so that no cache helps, and of one length."""
    texts = (f"{number:06d} {words(100, seed=number)}" for number in range(count))
    return in_our_order([Prompt("chat", ({"role": "user", "content": text},), 40) for text in texts])


def _rounds(tools: Sequence[Tool], work: Work, rounds: int) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {tool.name: [] for tool in tools}
    turns = [
        tool for number in range(rounds) for tool in [*tools[number % len(tools) :], *tools[: number % len(tools)]]
    ]
    with tempfile.TemporaryDirectory(prefix="slo-") as directory:
        for number, tool in enumerate(track(turns, "taking turns", console=console)):
            figures = tool.run(work, fresh(Path(directory) / f"{number}-{tool.name}"))
            if figures.requests < LEAST_DONE * len(work.prompts):
                raise RuntimeError(f"{tool.name} reports {figures.requests} of {len(work.prompts)} requests")
            found[tool.name].append(figures)
    return found


def _show(found: dict[str, list[Figures]]) -> None:
    table = Table("tool", *COMPARED, title="median (lowest to highest) over the rounds", title_justify="left")
    for name, runs in found.items():
        table.add_row(name, *(_spread(_values(runs, column), ".1f") for column in COMPARED))
    console.print(table)


def _values(runs: Sequence[Figures], name: str) -> list[float]:
    return [value for run in runs if (value := getattr(run, name)) is not None]


def _ratios(ours: Sequence[Figures], theirs: Sequence[Figures], name: str) -> list[float]:
    return [a / b for a, b in zip(_values(ours, name), _values(theirs, name), strict=False)]


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _lag_ms(url: str, rate: float, requests: int) -> float:
    command = [sys.executable, "-m", "evaluation.agent.bench_overhead", "measure", "--url", f"{url}/v1", "--json"]
    load = ["--rate", f"{rate:.0f}", "--requests", str(requests), "--rounds", "1"]
    done = subprocess.run([*command, *load], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0]["lag_p99_ms"])


@contextmanager
def _serving(command: Sequence[str]) -> Iterator[str]:
    """A running endpoint; its address without /v1."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().strip() if process.stdout else ""
            api_base = json.loads(line)["api_base"] if line.startswith("{") else line
            yield str(api_base).removesuffix("/v1")
        finally:
            process.terminate()


if __name__ == "__main__":
    app()
