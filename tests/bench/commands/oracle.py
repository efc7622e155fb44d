"""A model server over real HTTP whose answers come from a function, for tests of the answers' content.

    with oracle(lambda body: "Paris") as server:
        ...  # server.api_base; server.bodies holds what was asked

The function gets the request's body and returns the answer's text, or an HTTP status to fail with.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Body = dict[str, object]
Says = Callable[[Body], str | int]


class Oracle(ThreadingHTTPServer):
    """A running server and what it has been asked."""

    daemon_threads = True

    def __init__(self, says: Says) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says = says
        self.bodies: list[Body] = []

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Oracle

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        said = self.server.says(body)
        content = b"" if isinstance(said, int) else _events(said)
        self.send_response(said if isinstance(said, int) else 200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


def _events(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    chunks = [{"choices": [choice]}, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


def asked(body: Body) -> str:
    """The last message's text."""
    messages = body["messages"]
    assert isinstance(messages, list)
    return str(messages[-1]["content"])


@contextmanager
def oracle(says: Says) -> Iterator[Oracle]:
    """Runs the server on a free port of the loopback interface."""
    server = Oracle(says)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
