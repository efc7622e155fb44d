"""Runs blocking calls that may never return, outside the event loop and its pool of threads.

That pool has a few threads, and all look-ups of host names share them, those of providers too. A resolver or a server
that hangs must not take them. So each call that may hang gets a thread of its own, which does not keep the process from
ending. While a look-up hangs, `Names` starts no second one for the same host.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

LOOKUP_S = 2.0

Result = TypeVar("Result")


def start_aside(call: Callable[[], Result]) -> asyncio.Future[Result]:
    """Starts a call in a thread of its own. If the future is cancelled, the call goes on."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    future.add_done_callback(_retrieve)

    def tell(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # `None` may be the result

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # awaiting the future raises it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="slo_router aside", daemon=True).start()
    return future


class Names:
    """Looks up host names before a connection is made, so that its own look-up finds a resolver that answers."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[object]] = {}

    async def look_up(self, host: str) -> None:
        """Looks up a host, if it is no address. Raises OSError where the name is unknown or the resolver hangs."""
        if _is_address(host):
            return
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = start_aside(lambda: socket.getaddrinfo(host, None))
            asked.add_done_callback(lambda _: self._asked.pop(host, None))
        async with asyncio.timeout(LOOKUP_S):  # TimeoutError is an OSError
            await asyncio.shield(asked)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _retrieve(future: asyncio.Future[Result]) -> None:
    """Takes the exception, or asyncio would log that nobody did."""
    if not future.cancelled():
        future.exception()
