"""Sends one streaming request and times its answer.

aiohttp parses in C: a token takes a third of the CPU time of httpx. Every read gets its timestamp before parsing.

A server may close a kept connection just when the next request is sent on it. Such a request is sent once more, on a
new connection and with a new clock. Every other failure gives a `Sample` with an error class; nothing is raised. If the
agent or the network is to blame, the sample has an excuse (`excuses`).

If a server breaks the rules of chunked bodies, aiohttp closes the connection without telling the reader. So the client
checks the connection every half second, and ends such a request long before its timeout.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import cache
from time import perf_counter
from types import SimpleNamespace, TracebackType
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from slo_bench.measure import connecting
from slo_bench.measure.blaming import excused, words_in
from slo_bench.measure.excuses import ELSEWHERE, no_stream, unreached
from slo_bench.measure.sse import EventParser
from slo_bench.measure.stream import CONNECTION, CUT_STREAM, MALFORMED, TIMEOUT, WRONG_DEPLOYMENT, Sample, StreamReading
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt

MAX_BODY_BYTES = 256 * 2**20  # more than any answer; an endless answer must not fill the memory
_LOOK_EVERY_S = 0.5
_ANSWERED_BY = "x-litellm-model-id"
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=None)  # `timeout_s` bounds the whole request


class _DroppedConnectionError(Exception):
    """A reused connection was gone before the answer began."""


class Client:
    """An async context manager. `timeout_s` bounds a whole request, its second attempt included."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._sessions = AsyncExitStack()
        self._salts = random.Random()  # noqa: S311  # unlike each other is enough

    async def __aenter__(self) -> Self:
        self._kept = await self._session(aiohttp.TCPConnector(limit=0))
        self._fresh = await self._session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sessions.aclose()

    async def measure(self, target: Target, prompt: Prompt) -> Sample:
        """Sends `prompt` with a new salt, and returns the measurement."""
        return await self.send(target, target.body(prompt, f"{self._salts.getrandbits(48):012x}"))

    async def send(self, target: Target, body: dict[str, object]) -> Sample:
        """Sends `body`, which must ask for a stream, unchanged."""
        reading = StreamReading(perf_counter())
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    await _stream(self._kept, target, body, reading)
                except _DroppedConnectionError:
                    reading = StreamReading(perf_counter())
                    await _stream(self._fresh, target, body, reading)
        except TimeoutError:
            reading.fail(TIMEOUT)
        return excused(reading, target, body)

    async def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        return await self._sessions.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                timeout=_UNLIMITED,
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        )


@cache
def _proxy_of(url: str) -> str | None:
    """The environment's HTTP proxy. aiohttp's `trust_env` would also use keys from a netrc file, read per request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


async def _note_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx["reused"] = True


async def _stream(
    session: aiohttp.ClientSession, target: Target, body: dict[str, object], reading: StreamReading
) -> None:
    noted = {"reused": False}
    try:
        response = await session.post(
            target.url,
            json=body,
            headers=target.headers(),
            proxy=_proxy_of(target.url),
            allow_redirects=False,
            trace_request_ctx=noted,
        )
    except (aiohttp.ClientError, ValueError) as error:  # ValueError: HTTP cannot carry the address or the key
        if noted["reused"]:
            raise _DroppedConnectionError from error
        why = connecting.why_unreached(error)
        return reading.fail(CONNECTION, None if why is None else unreached(why))
    async with response:
        with _noticing_loss(response):
            await _read(response, target, reading)
    return None


@contextmanager
def _noticing_loss(response: aiohttp.ClientResponse) -> Iterator[None]:
    loop, was_lost = asyncio.get_running_loop(), False
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer, was_lost
        protocol = response.connection.protocol if response.connection else None
        lost = protocol is not None and not protocol.is_connected()
        if lost and was_lost:  # at the first look, the last bytes may still be on their way to the reader
            response.content.set_exception(aiohttp.ClientPayloadError("the connection is gone"))
        was_lost = lost
        timer = loop.call_later(_LOOK_EVERY_S, look)

    timer = loop.call_later(_LOOK_EVERY_S, look)
    try:
        yield
    finally:
        timer.cancel()


async def _read(response: aiohttp.ClientResponse, target: Target, reading: StreamReading) -> None:
    if response.status != 200:
        reading.fail(f"http_{response.status}")
        reading.refused = response.status, await words_in(response)
        return None
    answered_by = response.headers.get(_ANSWERED_BY)
    if target.answered_by is not None and answered_by not in {None, target.answered_by}:
        return reading.fail(WRONG_DEPLOYMENT, ELSEWHERE)
    if response.content_type != "text/event-stream":
        return reading.fail(MALFORMED, no_stream(response.content_type))
    parser, received = EventParser(), 0
    try:
        async for piece in response.content.iter_any():  # to its end, so that the connection is kept
            at_s = perf_counter()
            received += len(piece)
            for data in parser.feed(piece):
                reading.feed(data, at_s)
            if received > MAX_BODY_BYTES:
                return reading.fail(MALFORMED)
            if reading.failed:
                return None
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
        reading.fail(CUT_STREAM)
    return None
