"""What the agent measures of endpoints whose latencies are known: TTFT, ITL, TPOT and E2E within 2 % or 2 ms.

    python -m evaluation.agent.bench_accuracy [--requests 20] [--rounds 3]

Emulated endpoints in a process of their own, without jitter: a first token after T ms, one more every t ms, n of them,
so that TTFT = T, ITL = TPOT = t and E2E = T + (n − 1) × t, whatever runs beside them. The emulator itself is a little
late, by up to 1 ms of its event loop's clock and by the time it takes to read a request. So the same endpoint is read
with a blocking socket too, which is as close to the wire as Python gets; the agent's medians are compared with both.

On a machine that is busy with other things, give it a priority: `chrt -f 10 python -m evaluation.agent.bench_accuracy`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import perf_counter
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from slo_bench.measure.client import Client
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt
from slo_bench.summary.stats import CellStats, summarize

TOLERANCE, TOLERANCE_S = 0.02, 0.002
PROMPT = Prompt("chat", ({"role": "user", "content": "Say what you know."},), 64)
WIRE_REQUESTS = 6  # one after another, and the first is not counted
METRICS = ("TTFT", "ITL", "TPOT", "E2E")


class Known(NamedTuple):
    """An endpoint's latencies in ms, and the load on it."""

    ttft_ms: float
    tpot_ms: float
    concurrency: int

    def expected_s(self, tokens: int) -> dict[str, float]:
        """Each metric of an answer of so many tokens."""
        ttft_s, tpot_s = self.ttft_ms / 1e3, self.tpot_ms / 1e3
        return {"TTFT": ttft_s, "ITL": tpot_s, "TPOT": tpot_s, "E2E": ttft_s + (tokens - 1) * tpot_s}


SETTINGS = (Known(20, 2, 1), Known(50, 5, 1), Known(200, 20, 1), Known(50, 10, 8), Known(500, 40, 16))


@contextmanager
def endpoint(known: Known) -> Iterator[str]:
    """A running endpoint with these latencies; its api_base."""
    latencies = ["--ttft-ms", str(known.ttft_ms), "--tpot-ms", str(known.tpot_ms)]
    exact = ["--jitter", "0", "--tpot-growth", "0", "--prefill-us-per-token", "0", "--slots", "64"]
    command = [sys.executable, "-m", "evaluation.emulator", "--until-stdin-closes", "--model", "known"]
    with subprocess.Popen([*command, *latencies, *exact], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the endpoint has no pipes")
        yield str(json.loads(process.stdout.readline())["api_base"])
        process.stdin.close()


async def measure(api_base: str, known: Known, requests: int) -> tuple[CellStats, int]:
    """The summary of so many requests, and the tokens of an answer."""
    target = Target("known", "known", f"{api_base}/chat/completions")
    body = target.body(PROMPT, "")
    samples: list[Sample] = []
    waiting = itertools.repeat(None, requests)
    async with Client(60.0) as client:
        first = await client.send(target, body)

        async def worker(share: float) -> None:
            await asyncio.sleep(share * (first.e2e_s or 0.0))  # else they would queue at the endpoint all together
            await client.send(target, body)  # opens the connection
            samples.extend([await client.send(target, body) for _ in waiting])

        await asyncio.gather(*(worker(i / known.concurrency) for i in range(known.concurrency)))
    (tokens,) = {sample.completion_tokens or 0 for sample in samples}
    return summarize(samples, 1.0), tokens


def on_the_wire(api_base: str, requests: int) -> CellStats:
    """The same with a blocking socket: each read is stamped, and what is in it is found by its bytes."""
    host, port = api_base.removeprefix("http://").removesuffix("/v1").split(":")
    body = json.dumps(Target("known", "known", "").body(PROMPT, "")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    samples = []
    with socket.create_connection((host, int(port))) as link:
        for _ in range(requests):
            outputs_s, end_s, received = [], 0.0, b""
            sent_s = perf_counter()
            link.sendall(head + body)
            while not received.endswith(b"0\r\n\r\n"):
                received = link.recv(65_536)
                if not received:
                    raise RuntimeError("the endpoint closed the connection")
                at_s = perf_counter()
                outputs_s += [at_s] * received.count(b'"delta":{"content"')
                end_s = at_s if b'"finish_reason":"' in received else end_s
            gaps_s = tuple(b - a for a, b in pairwise(outputs_s))
            tokens = len(outputs_s)
            samples.append(Sample(outputs_s[0] - sent_s, end_s - sent_s, 0, tokens, itl_s=gaps_s))
    return summarize(samples[1:], 1.0)


def medians_s(stats: CellStats) -> dict[str, float]:
    """Of each metric."""
    spreads = dict(zip(METRICS, (stats.ttft, stats.itl, stats.tpot, stats.e2e), strict=True))
    return {name: spread.p50_s for name, spread in spreads.items() if spread is not None}


def within(found_s: float, expected_s: float) -> bool:
    """2 % or 2 ms off at most."""
    return abs(found_s - expected_s) <= max(TOLERANCE * expected_s, TOLERANCE_S)


def main(requests: Annotated[int, typer.Option(min=2)] = 20, rounds: Annotated[int, typer.Option(min=1)] = 3) -> None:
    """Exits with 1 where a median of the rounds is further off the wire's."""
    table = Table("endpoint", "", title=f"{requests} requests a round, {rounds} rounds, milliseconds")
    for name in ("known", "on the wire", "agent", "lowest", "highest", "off known", "off wire"):
        table.add_column(name, justify="right")
    worst: list[bool] = []
    for known in SETTINGS:
        with endpoint(known) as api_base:
            wire, found, tokens = [], [], 0
            for _ in range(rounds):
                wire.append(medians_s(on_the_wire(api_base, WIRE_REQUESTS)))
                stats, tokens = asyncio.run(measure(api_base, known, requests))
                found.append(medians_s(stats))
        label = f"{known.ttft_ms:g} + {known.tpot_ms:g} a token, {known.concurrency} at a time"
        for metric, expected_s in known.expected_s(tokens).items():
            values_s = sorted(one[metric] for one in found)
            value_s, wire_s = statistics.median(values_s), statistics.median(one[metric] for one in wire)
            worst.append(within(value_s, wire_s))
            figures_s = (expected_s, wire_s, value_s, values_s[0], values_s[-1], value_s - expected_s, value_s - wire_s)
            table.add_row(label, metric, *(f"{figure_s * 1e3:.2f}" for figure_s in figures_s))
            label = ""
    Console(width=120).print(table)
    print(f"{sum(worst)} of {len(worst)} medians within 2 % or 2 ms of the wire")
    raise SystemExit(0 if all(worst) else 1)


if __name__ == "__main__":
    typer.run(main)
