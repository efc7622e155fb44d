"""One job's connection to Redis: opened when needed, closed when it fails. Each change of state is logged once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import redis

from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect, error_kind, hosts_of, masked
from slo_router.worker.tasks.aside import Names, start_aside
from slo_router.worker.tasks.jobs import ToldError

log = logging.getLogger("slo_router")


class Without(NamedTuple):
    """What the log says goes on while Redis is away: from the start, and later."""

    from_start: str
    later: str


class Connection:
    """A connection to Redis that is opened again after each failure."""

    def __init__(self, url: str, names: Names, without: Without) -> None:
        self._url = url
        self._names = names
        self._without = without
        self._client: AsyncClient | None = None
        self._works: bool | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def use(self, work: Callable[[AsyncClient], Awaitable[None]]) -> bool:
        """Does `work` with a client. Returns whether this is the first success, or the first after a failure.

        Raises ToldError where Redis fails.
        """
        try:
            if self._client is None:
                await self._find_hosts()
                self._client = await start_aside(partial(connect, self._url))
            await work(self._client)
        except LINK_ERRORS as error:
            self._lost(error)
            raise ToldError from error
        except asyncio.CancelledError:  # it took too long, which the job logs
            self._works = False
            self._give_up()
            raise
        again, self._works = self._works is not True, True
        return again

    async def _find_hosts(self) -> None:
        """Looks up the hosts of the URL. Raises redis.ConnectionError where none is found."""
        hosts = hosts_of(self._url)
        found = await asyncio.gather(*map(self._names.look_up, hosts), return_exceptions=True)
        if hosts and all(isinstance(error, BaseException) for error in found):
            raise redis.ConnectionError("no name is found")

    def _lost(self, error: BaseException) -> None:
        if self._works is not False:
            what = self._without.later if self._works else self._without.from_start
            log.warning("Redis at %s: %s; %s until it answers", masked(self._url), error_kind(error), what)
        self._works = False
        self._give_up()

    async def aclose(self) -> None:
        """Closes the connection, and waits until it is closed."""
        self._give_up()
        if self._closing:
            await asyncio.wait(self._closing)

    def _give_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:  # in a task of its own, for closing a connection that hangs may hang
            task = asyncio.create_task(client.aclose(), name="slo_router closing")
            self._closing.add(task)
            task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # taken, or asyncio would log it
