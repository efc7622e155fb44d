"""What ASGI cannot express: closing a connection without an answer, and stopping work when the client hangs up.

ASGI gives an application neither the transport nor the number of requests that a kept-alive connection has carried.
Uvicorn leaves a handler running after its client is gone. A real server frees the slot, so this protocol cancels the
handler.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Never

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .record import Seen


@dataclass(slots=True)
class Connection:
    """One TCP connection of a client."""

    transport: asyncio.Transport
    requests: int = 0
    handler: "asyncio.Task[None] | None" = None
    seen: Seen | None = None  # the request that is being answered

    async def hang_up(self) -> Never:
        """Close the connection once all written bytes are sent, and end the handler."""
        self.seen = None
        self.transport.close()
        await forever()


class ConnectionProtocol(H11Protocol):
    """HTTP/1.1 that puts the Connection into `scope["state"]`, and cancels the handler when the connection is lost."""

    _connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count the requests of this connection."""
        super().connection_made(transport)
        connection = self._connection = Connection(transport)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            connection.requests += 1
            connection.handler = own = asyncio.current_task()
            scope["state"]["connection"] = connection
            try:
                await inner(scope, receive, send)
            except asyncio.CancelledError:
                if not transport.is_closing():
                    raise
            finally:
                if connection.handler is own:  # the connection's next request may have begun before this one ended
                    connection.handler = None

        self.app = app

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the handler: nobody waits for its answer any more."""
        super().connection_lost(exc)
        if self._connection.handler is not None:
            if self._connection.seen is not None and not self._connection.seen.completed:
                self._connection.seen.closed_s = time.time()
            self._connection.handler.cancel()


async def forever() -> Never:
    """Wait until cancelled."""
    while True:
        await asyncio.get_running_loop().create_future()
