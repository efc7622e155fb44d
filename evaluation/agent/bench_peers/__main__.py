"""The agent beside guidellm and aiperf on identical work: do the figures agree, and which sends fastest?

    python -m evaluation.agent.bench_peers agreement [--rounds 5]    latencies and throughput of an emulated endpoint
    python -m evaluation.agent.bench_peers speed [--rounds 3]        requests per second against one that answers at
                                                                     once, then how late the agent sends at the best
                                                                     peer's rate

The same prompts in the same order, as many at a time, up to as many tokens, against the same endpoint; the tools take
turns, and ratios are taken within a round. The peers are installed into `.venv-peers` on the first call.
"""

from __future__ import annotations

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

from evaluation.agent.bench_peers.lag import lag_p99_ms
from evaluation.agent.bench_peers.peers import PINNED, Installed, install
from evaluation.agent.bench_peers.tools import MODEL, AiPerf, Figures, GuideLlm, Ours, Tool, Work, fresh, in_our_order
from evaluation.emulator import EndpointSpec, endpoint_process
from evaluation.shared.results import Aim, Save, Spread, conclude
from evaluation.shared.sample import words
from slo_bench.measure import event_loop
from slo_bench.prompts.workload import Prompt

TOLERANCE_PERCENT, LAG_LIMIT_MS = 5, 5.0
LEAST_DONE = 0.95  # guidellm sometimes cancels the last request that it started
COMPARED = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "output_tps")
EMULATED = EndpointSpec(name=MODEL, ttft_ms=100, prefill_us_per_token=20, tpot_ms=10, slots=16, jitter=0.05)
HOME = Path(".venv-peers")

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None, pretty_exceptions_show_locals=False)
console = Console(width=120)
Rounds = Annotated[int, typer.Option(min=1, help="Of all tools in turn.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
Requests = Annotated[int, typer.Option(min=10, help="Of each tool in each round.")]
Home = Annotated[Path, typer.Option(help="Where the peers are installed.")]


@app.command()
def agreement(
    rounds: Rounds = 5,
    requests: Requests = 120,
    concurrency: Concurrency = 4,
    home: Home = HOME,
    *,
    is_saved: Save = False,
) -> None:
    """Median latencies and throughput of each tool, and ours over theirs."""
    tools = _tools(install(home, console))
    with endpoint_process([EMULATED]) as (endpoint,):
        found = _rounds(tools, Work(_prompts(requests), concurrency, endpoint.url), rounds)
    table = Table("tool", *COMPARED, title="median (lowest–highest) over the rounds", title_justify="left")
    for name, runs in found.items():
        table.add_row(name, *(_text(_spread(_values(runs, column)), 1) for column in COMPARED))
    console.print(table)
    ours, *theirs = found.values()
    ratios = {
        tool.name: {name: _spread(_ratios(ours, runs, name)) for name in COMPARED}
        for tool, runs in zip(tools[1:], theirs, strict=True)
    }
    table = Table("ours ÷", *COMPARED, title="by round: median (lowest–highest)", title_justify="left")
    for peer, row in ratios.items():
        table.add_row(peer, *(_text(ratio, 3) for ratio in row.values()))
    console.print(table)
    peers = [{"name": peer, "version": PINNED[peer], "ours_by_theirs": row} for peer, row in ratios.items()]
    worst = max(abs(ratio.value - 1) for row in ratios.values() for ratio in row.values() if ratio is not None)
    aim = Aim.at_most(TOLERANCE_PERCENT, "medians off the peers' by", 100 * worst, 1, " %")
    work = {"rounds": rounds, "requests": requests, "concurrency": concurrency}
    conclude({**work, "peers": peers}, [aim], form="agreement", is_saved=is_saved)


@app.command()
def speed(
    rounds: Rounds = 3,
    requests: Requests = 4_000,
    concurrency: Concurrency = 64,
    home: Home = HOME,
    *,
    is_saved: Save = False,
) -> None:
    """Requests per second of each tool in a closed loop, and our lag at the best peer's rate."""
    tools = _tools(install(home, console))
    with _lean_server() as url:
        found = _rounds(tools, Work(_prompts(requests), concurrency, url), rounds)
        rates = {name: Spread.of(run.requests_per_s for run in runs) for name, runs in found.items()}
        ours, *theirs = (rate.value for rate in rates.values())
        lags = [event_loop.run(lag_p99_ms(f"{url}/v1", max(theirs), requests)) for _ in range(rounds)]
    lag = Spread.of(lags)
    table = Table("tool", "requests per second", title="closed loop: median (lowest–highest)", title_justify="left")
    for name, rate in rates.items():
        table.add_row(name, rate.text())
    console.print(table)
    console.print(f"our lag p99 at {max(theirs):.0f}/s, Poisson: {lag.text(2)} ms")
    aims = [
        Aim.at_most(1, "best peer's rate ÷ ours:", max(theirs) / ours),
        Aim.at_most(LAG_LIMIT_MS, "lag p99 at the best peer's rate", lag.value, 1, " ms"),
    ]
    figures = {"rounds": rounds, "concurrency": concurrency, "requests_per_s": rates, "lag_p99_ms": lag}
    conclude(figures, aims, form="speed", is_saved=is_saved)


def _tools(installed: Installed) -> list[Tool]:
    return [Ours(), GuideLlm(installed), AiPerf(installed)]


def _prompts(count: int) -> list[Prompt]:
    """All prompts differ, so that no cache helps, and all have the same length."""
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


def _values(runs: Sequence[Figures], name: str) -> list[float]:
    return [value for run in runs if (value := getattr(run, name)) is not None]


def _ratios(ours: Sequence[Figures], theirs: Sequence[Figures], name: str) -> list[float]:
    return [a / b for a, b in zip(_values(ours, name), _values(theirs, name), strict=False)]


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None


def _text(spread: Spread | None, digits: int) -> str:
    return "–" if spread is None else spread.text(digits)


@contextmanager
def _lean_server() -> Iterator[str]:
    """An endpoint that answers at once, in its own process. Yields its address without /v1."""
    command = [sys.executable, "-m", "evaluation.agent.bench_peers.lean_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (process.stdout.readline() if process.stdout else "").strip().removesuffix("/v1")
        finally:
            process.terminate()


if __name__ == "__main__":
    app()
