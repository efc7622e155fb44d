"""An endpoint that answers at once and costs next to nothing, so that a client is all that is measured.

It reads no more of a request than where it ends, and writes the same answer to each: a chunked event stream of chat
completion chunks, with usage. One process, one core; `python -m evaluation.agent.bench_overhead serve` runs it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from functools import partial
from typing import cast

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_WORDS = ("so ", "it ", "goes ", "on ", "and ", "then ", "ends ")  # never one twice in a row


def events(tokens: int) -> Iterator[bytes]:
    """One answer, event by event: a role, `tokens` pieces of text, a finish reason, the usage, the end."""
    yield _event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    for i in range(tokens):
        yield _event([{"index": 0, "delta": {"content": _WORDS[i % len(_WORDS)]}, "finish_reason": None}])
    yield _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    yield _event([], {"prompt_tokens": 32, "completion_tokens": tokens, "total_tokens": tokens + 32})
    yield b"data: [DONE]\n\n"


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "lean", "choices": choices}
    return b"data: " + json.dumps(chunk if usage is None else {**chunk, "usage": usage}).encode() + b"\n\n"


def _framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Connection(asyncio.Protocol):
    """One client's connection. `token_s` is the time between two events, 0: all at once."""

    def __init__(self, answer: list[bytes], token_s: float) -> None:
        self._pieces = [_framed(piece) for piece in answer]
        self._whole = _HEAD + b"".join(self._pieces) + b"0\r\n\r\n"
        self._token_s = token_s
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._held += data
        while (end := self._held.find(_END)) >= 0:
            found = _LENGTH.search(self._held, 0, end)
            whole = end + len(_END) + (int(found[1]) if found else 0)
            if len(self._held) < whole:
                return
            method, self._held = self._held[:4], self._held[whole:]
            self._answer(method)

    def _answer(self, method: bytes) -> None:
        if method == b"GET ":  # what some clients ask before they begin
            body = b'{"object": "list", "data": [{"id": "lean", "object": "model", "max_model_len": 32768}]}'
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self._transport.write(head % len(body) + body)
        elif self._token_s:
            self._transport.write(_HEAD)
            self._next(iter(self._pieces))
        else:
            self._transport.write(self._whole)

    def _next(self, pieces: Iterator[bytes]) -> None:
        piece = next(pieces, None)
        self._transport.write(b"0\r\n\r\n" if piece is None else piece)
        if piece is not None:
            asyncio.get_running_loop().call_later(self._token_s, self._next, pieces)


async def serve(port: int, tokens: int, token_s: float) -> None:
    """Serves on the loopback interface until cancelled; port 0 is any. The first line printed is its address."""
    make = partial(Connection, list(events(tokens)), token_s)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port, backlog=4_096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()
