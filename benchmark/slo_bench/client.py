"""Sends one streaming request and times what comes back.

httpx-sse ends lines at CR, LF and CRLF only; httpx's own `aiter_lines` also does at U+2028 and its kin, which JSON text
may contain. The byte order mark that the standard allows is taken off by the decoder, which is always UTF-8.

A server may close a kept-alive connection just as the next request is sent on it. That says nothing about the model, so
a request that dies on a reused connection before the answer begins is sent once more, on a new connection and with a
new clock. Everything else that goes wrong ends in a `Sample` with an error class; nothing is raised.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from time import perf_counter
from types import TracebackType
from typing import Self

import httpx
from httpx_sse import EventSource, SSEError

from slo_bench.stream import CONNECTION, CUT_STREAM, MALFORMED, TIMEOUT, WRONG_DEPLOYMENT, Sample, StreamReading
from slo_bench.targets import Target
from slo_bench.workload import Prompt

_DROPPED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
_ANSWERED_BY = "x-litellm-model-id"


class _DroppedConnectionError(Exception):
    """A reused connection was gone before the answer began."""


class Client:
    """An async context manager. `timeout_s` bounds a whole request, its second attempt included."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        tls = httpx.create_ssl_context()  # slow to make, so made once
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._kept = httpx.AsyncClient(timeout=None, limits=unlimited, verify=tls)  # noqa: S113  # bounded as a whole
        unpooled = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._fresh = httpx.AsyncClient(timeout=None, limits=unpooled, verify=tls)  # noqa: S113
        self._clients = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for client in (self._kept, self._fresh):
            await self._clients.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clients.aclose()

    async def measure(self, target: Target, prompt: Prompt) -> Sample:
        """Sends `prompt`, freshly salted, and returns what was measured."""
        return await self.send(target, target.body(prompt, secrets.token_hex(6)))

    async def send(self, target: Target, body: dict[str, object]) -> Sample:
        """Sends `body`, which asks for a stream, as it is."""
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
        return reading.sample()


async def _stream(http: httpx.AsyncClient, target: Target, body: dict[str, object], reading: StreamReading) -> None:
    reused = True

    async def notice_connect(event: str, _: object) -> None:
        nonlocal reused
        if event.startswith("connection.connect"):
            reused = False

    try:
        request = http.build_request(
            "POST", target.url, json=body, headers=target.headers(), extensions={"trace": notice_connect}
        )
        response = await http.send(request, stream=True)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        if reused and isinstance(error, _DROPPED):
            raise _DroppedConnectionError from error
        return reading.fail(CONNECTION)
    try:
        await _read(response, target, reading)
    finally:
        await response.aclose()
    return None


async def _read(response: httpx.Response, target: Target, reading: StreamReading) -> None:
    if response.status_code != httpx.codes.OK:
        return reading.fail(f"http_{response.status_code}")
    answered_by = response.headers.get(_ANSWERED_BY)
    if target.answered_by is not None and answered_by not in {None, target.answered_by}:
        return reading.fail(WRONG_DEPLOYMENT)
    response.encoding = "utf-8-sig"
    try:
        async for event in EventSource(response).aiter_sse():  # to its end, so that the connection is kept
            reading.feed(event.data, perf_counter())
    except SSEError:  # not an event stream; an httpx.TransportError, so it goes first
        reading.fail(MALFORMED)
    except (httpx.TransportError, httpx.DecodingError):
        reading.fail(CUT_STREAM)
    return None
