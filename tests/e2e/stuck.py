"""Things on which the background jobs of a worker may get stuck."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def dripping() -> Iterator[str]:
    """The address of a page that sends a byte from time to time, and never ends."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip(link: socket.socket) -> None:
        with link, suppress(OSError):
            while not over.wait(0.2):
                link.send(b"H")

    def meet() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=meet, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
    over.set()
    listening.close()
