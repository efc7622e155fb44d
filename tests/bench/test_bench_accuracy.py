"""Latencies are those of the server's own clock, within 2 % or 2 ms; `evaluation.bench_accuracy` tries more of them."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter

import pytest

from evaluation.bench_accuracy import within
from slo_bench.client import Client
from slo_bench.stream import Sample
from slo_bench.targets import Target
from tests.bench.scripted_server import DONE, EVENT_STREAM, chunk, delta, usage

CHUNKS, REQUESTS, PAUSE_S = 8, 5, 0.005


class ClockedServer:
    """Streams a chunk every `PAUSE_S` and notes when it had the request and when it wrote each chunk."""

    def __init__(self) -> None:
        self.written_s: list[list[float]] = []  # for each request: when it came, then each chunk

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(REQUESTS):
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
        writer.close()

    @staticmethod
    def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))


@pytest.fixture
async def measured() -> tuple[list[Sample], list[list[float]]]:
    server = ClockedServer()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    target = Target("x", "x", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions")
    async with listener, Client(10.0) as client:
        samples = [await client.send(target, {}) for _ in range(REQUESTS)]
    return samples, server.written_s


async def test_ttft_gaps_tpot_and_e2e_are_those_of_the_servers_clock(
    measured: tuple[list[Sample], list[list[float]]],
) -> None:
    samples, written_s = measured
    assert [sample.error for sample in samples] == [None] * REQUESTS
    pairs = list(zip(samples, written_s, strict=True))
    found = {
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
    for name, values in found.items():
        off_s = sorted((ours_s or 0.0) - servers_s for ours_s, servers_s in values)
        least_s = median(off_s) if name == "ITL" else min(off_s, key=abs)  # a busy machine may stop any one request
        assert within(values[0][1] + least_s, values[0][1]), name
