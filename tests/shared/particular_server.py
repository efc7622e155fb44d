"""A model server over real TCP in a thread. A test decides, for each request, what it sends.

    with particular(lambda one: GOOD if "stop" in one.body else refuse(400, "…")) as server:
        ...  # server.api_base; server.requests holds what was asked

It is for tests of commands, which have their own event loop. `stop` and `start` are a restart; in between the port is
closed. An answer is bytes, or a reply as in `scripted_server`, whose pieces are written separately.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from evaluation.shared.stock_proxy import free_port
from tests.shared.scripted_server import DONE, Reply, chunk, delta, stream, usage

HOLD = b""  # closes the connection without a byte


class Request(NamedTuple):
    """A received request. Header names are in lower case."""

    headers: Mapping[str, str]
    body: dict[str, object]


Answers = Callable[[Request], bytes | Reply]


def whole(reply: Reply) -> bytes:
    """A scripted reply in one piece."""
    return b"".join(piece for piece in reply if isinstance(piece, bytes))


GOOD = whole(stream(chunk(delta(content="Yes, it is.")), chunk(delta("stop")), chunk(usage(12, 5)), DONE))


def refuse(status: int, error: object) -> bytes:
    """An error in OpenAI's form. `error` is its message, or the whole body."""
    body = json.dumps({"error": {"message": error}} if isinstance(error, str) else error).encode()
    return b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


class Particular:
    """A running server and what it has received."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self._port = free_port()
        self.start()

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [request.body for request in self.requests]

    def start(self) -> None:
        """Begins to listen."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Closes every connection, and stops listening."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.open):
            with suppress(OSError):  # its thread has just closed it
                connection.shutdown(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: Particular

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.open: set = set()  # type: ignore[type-arg]

    def handle_error(self, *_: object) -> None:
        """Prints nothing: broken connections are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = Request({name.lower(): value for name, value in self.headers.items()}, body)
        self.server.owner.requests.append(request)
        said = self.server.owner.answers(request)
        self.close_connection = not said
        for piece in (said,) if isinstance(said, bytes) else said:
            if isinstance(piece, bytes):
                self.wfile.write(piece)
            else:
                time.sleep(piece or 0.0)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@contextmanager
def particular(answers: Answers) -> Iterator[Particular]:
    """Runs the server on a free port of the loopback interface."""
    server = Particular(answers)
    try:
        yield server
    finally:
        server.stop()


THINKS = {
    "choices": [],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 96,
        "completion_tokens_details": {"reasoning_tokens": 96},
    },
}
THOUGHT = whole(stream(chunk(delta(role="assistant", content="")), chunk(delta("length")), chunk(THINKS), DONE))
