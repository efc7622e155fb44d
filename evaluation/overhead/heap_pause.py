"""The stop of a fresh proxy near its 100th request, and what `freeze_heap` does to it: latency and memory.

    python -m evaluation.overhead.heap_pause [--starts 3] [--requests 600]

Python's collector walks every object that the proxy made at its start, a second's work, once enough new ones live on.
`freeze_heap` collects once when the router is there, and moves what is left out of the collector's sight. Each start is
a fresh stock proxy with the plugin, in turn with and without; the first request of a worker, slower for other reasons,
is left out. Memory is the resident set of the proxy's processes after the last request, from Linux's /proc.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.table import Table

from evaluation.emulator import Handle, instant
from evaluation.overhead.proxy_overhead import CALLBACKS, MeasuredProxy, document, world
from evaluation.shared.results import Spread
from evaluation.shared.sample import messages_of_words
from slo_router.contract.redis import embedded

WORDS = 200
MS_PER_S = 1_000.0
MIB = 2**20


class Start(NamedTuple):
    """What one fresh proxy showed."""

    p50_ms: float
    p99_ms: float
    longest_ms: float
    resident_mib: float


def measure(handles: Sequence[Handle], directory: Path, requests: int, *, freeze: bool) -> Start:
    """One start, and `requests` requests one after another."""
    settings = document(handles, CALLBACKS["plugin"])
    settings["callback_settings"]["slo_router"]["freeze_heap"] = freeze  # type: ignore[index]
    often = {} if sys.version_info >= (3, 12) else {"PYTHON_GC_THRESHOLD": "700,10,10"}  # CPython's own default
    environment = {embedded.DIRECTORY_VARIABLE: str(directory / "valkey"), **often}
    taken_ms: list[float] = []
    with MeasuredProxy(settings, directory, environment=environment) as proxy, httpx.Client(timeout=30) as client:
        body = {"model": "smart", "messages": messages_of_words(WORDS), "max_tokens": 64}
        for _ in range(requests + 1):
            begun_s = time.perf_counter()
            client.post(f"{proxy.url}/v1/chat/completions", json=body, headers=proxy.auth).raise_for_status()
            taken_ms.append((time.perf_counter() - begun_s) * MS_PER_S)
        resident_mib = proxy.resident_bytes() / MIB
    served = taken_ms[1:]
    return Start(statistics.median(served), statistics.quantiles(served, n=100)[98], max(served), resident_mib)


def main(
    starts: Annotated[int, typer.Option(help="Fresh proxies of each kind.", min=1)] = 3,
    requests: Annotated[int, typer.Option(help="Requests to each.", min=10)] = 600,
) -> None:
    """Latency and memory of fresh proxies with and without `freeze_heap`."""
    found: dict[bool, list[Start]] = {False: [], True: []}
    with world([instant(name) for name in ("small", "medium", "large")]) as (directory, _, handles):
        for _ in range(starts):
            for freeze, seen in found.items():
                seen.append(measure(handles, directory, requests, freeze=freeze))
    table = Table("freeze_heap", "p50 ms", "p99 ms", "longest ms", "resident MiB", title="median (lowest–highest)")
    for freeze, seen in found.items():
        table.add_row(str(freeze).lower(), *(Spread.of(values).text(1) for values in zip(*seen, strict=True)))
    Console(width=120).print(table)
    print(f"{starts} fresh proxies of each kind, {requests} requests one after another to each, one worker")


if __name__ == "__main__":
    typer.run(main)
