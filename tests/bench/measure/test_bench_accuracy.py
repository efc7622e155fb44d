"""Latencies are those of the server's own clock, within 2 % or 2 ms.

A busy machine may stop any request, and then the two clocks are read at different times. So requests are sent until
each latency was found right, which one that is measured wrongly never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from slo_bench.measure.client import Client
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from tests.shared.listening import listening
from tests.shared.scripted_server import DONE, EVENT_STREAM, chunk, delta, usage

CHUNKS, REQUESTS, ROUNDS, PAUSE_S = 8, 5, 40, 0.005
TOLERANCE, TOLERANCE_S = 0.02, 0.002


class ClockedServer:
    """Streams a chunk every `PAUSE_S` and notes when it had the request and when it wrote each chunk."""

    def __init__(self) -> None:
        self.written_s: list[list[float]] = []  # for each request: when it came, then when each chunk was written

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(REQUESTS * ROUNDS):
            await reader.readuntil(b"\r\n\r\n")
            times_s = [perf_counter()]
            self.written_s.append(times_s)
            writer.write(EVENT_STREAM)
            for _ in range(CHUNKS):
                await asyncio.sleep(PAUSE_S)
                self._write(writer, chunk(delta(content="x")))
                times_s.append(perf_counter())
            self._write(writer, chunk(delta("stop")) + chunk(usage(3, CHUNKS)) + DONE)
            writer.write(b"0\r\n\r\n")
            await reader.read(2)  # the body, so that the next request begins with its head

    @staticmethod
    def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def test_ttft_gaps_tpot_and_e2e_are_those_of_the_servers_clock() -> None:
    server = ClockedServer()
    async with listening(server.handle) as port, Client(60.0) as client:
        target = Target("x", "x", f"http://127.0.0.1:{port}/v1/chat/completions")
        for _ in range(ROUNDS):
            server.written_s.clear()
            samples = [await client.send(target, {}) for _ in range(REQUESTS)]
            assert [sample.error for sample in samples] == [None] * REQUESTS
            if not (wrong := off(samples, server.written_s)):
                break
    assert wrong == {}


def off(samples: Sequence[Sample], written_s: Sequence[Sequence[float]]) -> dict[str, float]:
    """The latencies that are wrong for every request, and by how many seconds. For gaps, the median counts."""
    pairs = list(zip(samples, written_s, strict=True))
    found: dict[str, list[tuple[float | None, float]]] = {
        "TTFT": [(sample.ttft_s, times_s[1] - times_s[0]) for sample, times_s in pairs],
        "E2E": [(sample.e2e_s, times_s[-1] - times_s[0]) for sample, times_s in pairs],
        "TPOT": [(sample.tpot_s, (times_s[-1] - times_s[1]) / (CHUNKS - 1)) for sample, times_s in pairs],
        "ITL": [
            (gap_s, times_s[i + 2] - times_s[i + 1])
            for sample, times_s in pairs
            for i, gap_s in enumerate(sample.itl_s)
        ],
    }
    assert len(found["ITL"]) == REQUESTS * (CHUNKS - 1)
    wrong = {}
    for name, values in found.items():
        off_s = sorted((ours_s or 0.0) - servers_s for ours_s, servers_s in values)
        least_s = median(off_s) if name == "ITL" else min(off_s, key=abs)
        if abs(least_s) > max(TOLERANCE * values[0][1], TOLERANCE_S):
            wrong[name] = least_s
    return wrong
