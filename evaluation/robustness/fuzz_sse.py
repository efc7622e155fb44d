"""The agent's client against random event streams over real TCP: the right sample for each, no crash and no hang.

    python -m evaluation.robustness.fuzz_sse [--cases 10000] [--seed 0]

`evaluation.robustness.sse_cases` makes the streams and the expected result of each. A case with another result is
printed with its number: `--seed N --cases 1` repeats it. Then the client reads one event of 10 MB in pieces of several
sizes: a reader that scans its buffer again and again would take quadratic time.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer

from evaluation.robustness.sse_cases import Case, Expected, make_case
from slo_bench.measure.client import Client
from slo_bench.measure.sse import EventParser
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target

CONCURRENCY = 16
TIMEOUT_S = 120.0  # a longer case hangs: it takes milliseconds, on a busy machine seconds
BROKEN_HTTP = {"connection", "cut_stream", "malformed"}
MIB = 2**20


@dataclass
class CaseServer:
    """Answers a request for `{"case": n}` with the writes of `cases[n]`."""

    cases: dict[int, Case] = field(default_factory=dict)
    url: str = ""
    handlers: set[asyncio.Task[None] | None] = field(default_factory=set)  # one for each connection

    async def ask(self, client: Client, number: int, case: Case) -> Sample:
        """The sample that `client` reads from `case`."""
        self.cases[number] = case
        sample = await client.send(Target("fuzz", "fuzz", self.url), {"case": number})
        del self.cases[number]
        return sample

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.handlers.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                case = self.cases[json.loads(await reader.readexactly(length))["case"]]
                for piece in case.writes:
                    writer.write(piece)
                    await asyncio.sleep(0)
                    if writer.is_closing():  # the client closed the connection
                        return
                await writer.drain()
                if case.ending != "keep":
                    break
            if case.ending == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done with this connection
        finally:
            writer.close()


@asynccontextmanager
async def case_server() -> AsyncIterator[CaseServer]:
    """A running server on a free port of the loopback interface."""
    server = CaseServer()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1/chat/completions"
    try:
        yield server
    finally:
        listener.close()
        await asyncio.gather(*(handler for handler in server.handlers if handler is not None))


def observed(sample: Sample) -> Expected:
    """A sample in the form of the expected result."""
    return Expected(
        sample.error,
        sample.answer,
        sample.reasoning_chars,
        sample.finish_reason,
        sample.prompt_tokens,
        sample.completion_tokens,
        sample.cached_tokens,
        sample.reasoning_tokens,
        len(sample.itl_s),
    )


def fits(found: Expected, case: Case) -> bool:
    """Whether the result is the expected one. If HTTP itself is broken, what came just before may be missing."""
    expected = case.expected
    if case.may_lose and found.error in {expected.error, *BROKEN_HTTP}:
        return expected.answer.startswith(found.answer)
    return found == expected


async def fuzz(first_seed: int, count: int) -> tuple[Counter[str], list[str], float]:
    """The number of cases by outcome, a line for each wrong case, and the longest case's seconds."""
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    longest_s = 0.0
    seeds = iter(range(first_seed, first_seed + count))
    async with case_server() as server, Client(TIMEOUT_S) as client:

        async def worker() -> None:
            nonlocal longest_s
            for seed in seeds:
                case = make_case(random.Random(seed))
                began_s = time.perf_counter()
                found = observed(await server.ask(client, seed, case))
                longest_s = max(longest_s, time.perf_counter() - began_s)
                outcomes[found.error or "success"] += 1
                if not fits(found, case):
                    wrong.append(f"seed {seed}: {case.description}\n  expected {case.expected}\n  found    {found}")

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return outcomes, wrong, longest_s


def parse_time_s(size: int, piece: int) -> float:
    """CPU seconds to parse one data line of `size` bytes in pieces of `piece` bytes."""
    event = b"data: " + b"x" * size + b"\n\n"
    parser, began_s = EventParser(), time.process_time()
    events = [data for i in range(0, len(event), piece) for data in parser.feed(event[i : i + piece])]
    if [len(data) for data in events] != [size]:
        raise RuntimeError(f"one event of {size} bytes in pieces of {piece} was read as {len(events)} events")
    return time.process_time() - began_s


async def long_line_s(size: int, piece: int) -> float:
    """CPU seconds, with the server's, for a stream with one data line of `size` bytes in chunks of `piece` bytes."""
    text = b'data: {"choices": [{"delta": {"content": "' + b"x" * size + b'"}, "finish_reason": "stop"}]}\n\n'
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (text[i : i + piece] for i in range(0, len(text), piece))
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    case = Case((head, chunks, b"0\r\n\r\n"), "keep", Expected(), "long line")
    async with case_server() as server, Client(600.0) as client:
        began_s = time.process_time()
        sample = await server.ask(client, 0, case)
        if len(sample.answer) != size:
            raise RuntimeError(f"an answer of {size} bytes in chunks of {piece} was read as {len(sample.answer)}")
        return time.process_time() - began_s


def main(
    cases: Annotated[int, typer.Option(min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the first case; the next one has the next.")] = 0,
) -> None:
    """Exits with 1 where a stream was misread."""
    outcomes, wrong, longest_s = asyncio.run(fuzz(seed, cases))
    print(*wrong[:20], sep="\n")
    print(f"{cases} streams, {len(wrong)} misread; the longest took {longest_s * 1e3:.0f} ms")
    print(", ".join(f"{count} {name}" for name, count in outcomes.most_common()))
    if cases > 1:
        for piece in (MIB, 1000, 1):
            times = ", ".join(f"{n} MB {parse_time_s(n * MIB, piece):.2f} s" for n in (5, 10))
            print(f"one line in pieces of {piece} bytes, the parser alone: {times} CPU")
        for piece in (MIB, 1000, 1):
            times = ", ".join(f"{n} MB {asyncio.run(long_line_s(n * MIB, piece)):.2f} s" for n in (5, 10))
            print(f"one line in chunks of {piece} bytes, over TCP: {times} CPU")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
