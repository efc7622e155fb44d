"""An HTTP server that sends exactly the given bytes in exactly the given pieces, over real TCP.

    async with scripted([stream(b"data: …", b"…")]) as server:
        ...  # server.api_base; server.bodies holds the received bodies

Each request takes the next reply; the last one repeats. In a reply, a number pauses that many seconds and `None` closes
the connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.shared.listening import listening

Reply = Sequence[bytes | float | None]
EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DROP: Reply = [None]
DONE = b"data: [DONE]\n\n"


def chunk(payload: Mapping[str, object]) -> bytes:
    """One event with `payload` as JSON, not escaped to ASCII."""
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> dict[str, object]:
    """A chat completion chunk with one choice."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, object]:
    """The usage chunk."""
    return {"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}}


def stream(*pieces: bytes | float, headers: bytes = EVENT_STREAM) -> Reply:
    """A complete chunked response. Each piece is a separate TCP write, or a pause in seconds."""
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) if isinstance(piece, bytes) else piece for piece in pieces]
    return [headers, *framed, b"0\r\n\r\n"]


@dataclass
class Server:
    """A running scripted server and what it has received."""

    api_base: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def scripted(replies: Sequence[Reply]) -> AsyncIterator[Server]:
    """Runs the server on a free port of the loopback interface."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        while True:
            await _read_request(reader, server)
            for piece in replies[min(len(server.bodies), len(replies)) - 1]:
                if piece is None:
                    return
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                await asyncio.sleep(0 if isinstance(piece, bytes) else piece)

    async with listening(handle) as port:
        server.api_base = f"http://127.0.0.1:{port}/v1"
        yield server


async def _read_request(reader: asyncio.StreamReader, server: Server) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    server.headers.append(headers)
    server.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
