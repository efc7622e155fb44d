"""A server that answers each request with a habit's bytes, over real TCP, and notes when it sent the first token.

    with providers(gap_s=0.4) as server:
        ...  # server.api_base("openai"); server.sent_s["17"] is when the first token of `ask 17` was sent

A request may say `stop before the opening`, `the token` or `the rest`. Then the server sends nothing from that part on,
and keeps the connection open until the request's number is in `server.released`.

The server runs on a thread with its own event loop, so that it and a client do not wait for each other.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from evaluation.routing.first_token.habits import HABITS
from evaluation.routing.first_token.streams import Stream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
PAUSE_S = 0.005  # after each piece, so that each arrives separately
LAST = b"0\r\n\r\n"
_ASK = re.compile(rb"ask (\d+)(?:, stop before the (opening|token|rest))?")


Parts = Mapping[str, Sequence[bytes]]


def slug(habit: str) -> str:
    """A habit's name as a part of a path, a group and a deployment."""
    return habit.replace(" ", "-")


STREAMS = {slug(habit.name): habit.streams for habit in HABITS}


@dataclass
class Providers:
    """The running server. `gap_s` seconds lie between the opening and the first token. Times are Unix seconds."""

    gap_s: float
    port: int = 0
    asked: set[str] = field(default_factory=set)  # the requests that arrived
    sent_s: dict[str, float] = field(default_factory=dict)  # when the first token of each was sent
    stopped: set[str] = field(default_factory=set)  # requests at whose `stop` the server waits
    released: set[str] = field(default_factory=set)  # stopped requests that now get the rest
    hung_up: set[str] = field(default_factory=set)  # requests whose connection closed before their answer ended

    def api_base(self, habit: str) -> str:
        """What LiteLLM calls the base URL."""
        return f"http://127.0.0.1:{self.port}/{slug(habit)}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        answering: str | None = None
        try:
            while True:
                path, answering, stop = await _read(reader)
                self.asked.add(answering)
                parts = _parts(_stream_of(path))
                writer.write(HEAD if parts else MISSING)
                sent = await self._send(writer, parts, answering, stop)
                if sent < len(parts):
                    self.stopped.add(answering)
                    if not await self._is_released(reader, answering):
                        return
                    await self._send(writer, dict(list(parts.items())[sent:]), answering)
                if parts:
                    writer.write(LAST)
                    await writer.drain()
                answering = None
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if answering is not None:
                self.hung_up.add(answering)
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, parts: Parts, ask: str, stop: str = "") -> int:
        """Sends the parts up to `stop`. Returns how many parts were sent."""
        for number, (name, pieces) in enumerate(parts.items()):
            if name == stop:
                return number
            if name == "token":
                await asyncio.sleep(self.gap_s)
                self.sent_s[ask] = time.time()
            for piece in pieces:
                await _write(writer, piece)
        return len(parts)

    async def _is_released(self, reader: asyncio.StreamReader, ask: str) -> bool:
        """Waits until the request is released or the client hangs up. Returns whether it was released."""
        hanging_up = asyncio.create_task(reader.read())
        try:
            while not hanging_up.done():
                if ask in self.released:
                    return True
                await asyncio.sleep(PAUSE_S)
            return False
        finally:
            hanging_up.cancel()


def _stream_of(path: str) -> Stream | None:
    name, _, rest = path.partition("?")[0].lstrip("/").partition("/" if path.count("/") > 1 else ":")
    streams = STREAMS.get(name, {})
    ends = sorted((end for end in streams if path.partition("?")[0].endswith(end)), key=len)
    return streams[ends[-1]] if ends and rest else None


def _parts(stream: Stream | None) -> Parts:
    return {} if stream is None else {"opening": stream.opening, "token": (stream.token,), "rest": stream.rest}


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, str]:
    """The request's path, its number, and the part before which the server stops."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")
    length = next((line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")), "0")
    asked = _ASK.search(await reader.readexactly(int(length)))
    number, stop = asked.groups(b"") if asked else (b"", b"")
    return lines[0].split()[1], number.decode(), stop.decode()


async def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    await writer.drain()
    await asyncio.sleep(PAUSE_S)


@contextmanager
def providers(gap_s: float) -> Iterator[Providers]:
    """Runs the server on a free port of the loopback interface while the block runs."""
    server, ready = Providers(gap_s), threading.Event()
    ends: list[Callable[[], object]] = []

    async def run() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(end.set))
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        ready.set()
        await end.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="providers", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        ends[0]()
        thread.join()
