"""Serves emulated endpoints over real HTTP on the loopback interface: many in one process, each on its own port.

In a test or a study the endpoints run on a thread with its own event loop, so that blocking and asynchronous callers
can both use them. `python -m evaluation.emulator` runs them in a process.
"""

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.types import Receive, Scope, Send

from .app import Endpoint
from .connection import ConnectionProtocol
from .faults import Fault, FaultKind
from .record import Seen
from .spec import EndpointSpec

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Handle:
    """A running endpoint, for the process that runs it."""

    endpoint: Endpoint
    port: int

    @property
    def name(self) -> str:
        """The model's name."""
        return self.endpoint.spec.name

    @property
    def url(self) -> str:
        """Where `/metrics`, `/health` and `/control` are."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_base(self) -> str:
        """What OpenAI clients and LiteLLM call the base URL."""
        return f"{self.url}/v1"

    def control(self, fault: FaultKind = "ok", **options: float | str | None) -> None:
        """Fail like this from the next request on; the options are the fields of Fault."""
        self.endpoint.faults.set(Fault.model_validate({"fault": fault, **options}))

    def seen(self) -> list[Seen]:
        """The last requests to the model, oldest first."""
        return self.endpoint.record.seen()

    def reset(self) -> None:
        """Clears the fault and the recorded requests."""
        self.endpoint.reset()


class Host(uvicorn.Server):
    """All endpoints of one process behind one server: the port selects the endpoint.

    Raises:
        OSError: a port is taken.
    """

    def __init__(self, specs: Sequence[EndpointSpec], on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            self._app,
            http=ConnectionProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,  # seconds; then running requests are cancelled
        )
        super().__init__(config)
        self.sockets = [_bound(spec.port) for spec in specs]
        ports = [sock.getsockname()[1] for sock in self.sockets]
        self.handles = [Handle(Endpoint(spec), port) for spec, port in zip(specs, ports, strict=True)]
        self._on_ready = on_ready
        self._apps = {handle.port: handle.endpoint.app for handle in self.handles}

    def serve_until_stopped(self) -> None:
        """Serve on this thread until `should_exit` is set or, on the main thread, a signal comes."""
        self.run(sockets=self.sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell the caller."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, also hanging ones, and wait for none."""
        for protocol in list(self.server_state.connections):
            protocol.transport.abort()
        await super().shutdown(sockets)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[scope["server"][1]](scope, receive, send)


@contextmanager
def running_endpoints(specs: Sequence[EndpointSpec]) -> Iterator[list[Handle]]:
    """Run the endpoints on a thread of their own while the block runs; yields one handle per spec, in order.

    Raises:
        OSError: a port is taken.
    """
    ready = threading.Event()
    host = Host(specs, on_ready=ready.set)
    thread = threading.Thread(target=host.serve_until_stopped, name="emulated-endpoints", daemon=True)
    thread.start()
    try:
        if not ready.wait(timeout=60):
            raise TimeoutError("the emulated endpoints did not start within 60 s")
        yield host.handles
    finally:
        host.should_exit = True
        thread.join()


class Address(NamedTuple):
    """Where an endpoint of another process listens."""

    name: str
    url: str
    api_base: str


@contextmanager
def endpoint_process(specs: Sequence[EndpointSpec]) -> Iterator[list[Address]]:
    """Run the endpoints in a process of their own, which ends with the block or with this process.

    Raises:
        RuntimeError: they did not start.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "endpoints.json"
        path.write_text(json.dumps([asdict(spec) for spec in specs]), encoding="utf-8")
        command = [sys.executable, "-m", "evaluation.emulator", "--until-stdin-closes", "--spec", str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                lines = [process.stdout.readline() if process.stdout else "" for _ in specs]
                if not all(lines):
                    raise RuntimeError("the emulated endpoints did not start; see their message on stderr")
                yield [Address(**json.loads(line)) for line in lines]
            finally:
                process.terminate()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"port {port} on {HOST}: {error.strerror}; choose another, or 0 for any") from error
    return sock
