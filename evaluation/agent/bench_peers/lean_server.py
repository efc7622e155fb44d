"""An endpoint that answers at once and costs next to nothing, so that only the client is measured.

It only looks for the end of a request and answers each request alike: a chunked event stream of chat completion
chunks, with usage. It takes one process and one core: `python -m evaluation.agent.bench_peers.lean_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from typing import cast

from slo_bench.measure import event_loop

TOKENS = 16
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_WORDS = ("so ", "it ", "goes ", "on ", "and ", "then ", "ends ")  # no word comes twice in a row


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


_ANSWER = _HEAD + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events(TOKENS)) + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self) -> None:
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
        else:
            self._transport.write(_ANSWER)


async def serve() -> None:
    """Serves on the loopback interface until cancelled, on any port. The first line printed is its address."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4_096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # SIGTERM as well
        event_loop.run(serve())
