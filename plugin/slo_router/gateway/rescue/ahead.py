"""Reads a stream ahead to its first token, before the answer's headers leave. If it is silent, another one replaces it.

    LiteLLM has a stream ──→ read pieces, and hold them ──token──→ they go to the client, and the rest after them
                                     ├──deadline──→ the same request goes through the router again, as a request of its
                                     │              own: deployments that were tried are left out
                                     │                 └─→ the second has a token: it is the answer, the first is closed
                                     │                     the second fails, or the first has a token earlier: the first
                                     │                     is read on
                                     └──it breaks─→ likewise; if the second fails the client gets the first one's error

If the first stream breaks while another deployment is asked, LiteLLM may ask a third to continue it: `is_left` tells
the filter to refuse that.

The second stream may break, too. Then yet another deployment is asked, as often as LiteLLM would retry.

Callbacks that look at the pieces before this plugin does see the pieces of both streams: `source_of` calls them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import litellm
from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.route_llm_request import route_request

from slo_router.contract.first_token import Look
from slo_router.gateway.requests import Request
from slo_router.gateway.router import current_router
from slo_router.worker.trace import METADATA_KEYS

log = logging.getLogger("slo_router")

CLOSED_WITHIN_S = 1.0
# LiteLLM keeps these of a broken stream; a second request starts without them
OF_ONE_ANSWER = ("combined_usage_object", "response_cost", "completion_start_time")
BASE_HEADER = "x-litellm-model-api-base"  # LiteLLM's own


class OutrunError(Exception):
    """The silent stream had its first token before the stream that was to take its place."""


class LeftError(Exception):
    """LiteLLM wants a deployment to continue a broken stream, while another is asked in its place: none is picked."""


@dataclass(slots=True, eq=False)
class Ahead:
    """A stream whose first pieces are read. Iterate this object for those pieces, then iterate `rest`."""

    response: object  # LiteLLM's
    rest: AsyncIterator[object]
    first_token_s: float | None = None  # Unix seconds
    headers: dict[str, str] = field(default_factory=dict)  # where LiteLLM's own would still name the first deployment
    error: Exception | None = None  # that LiteLLM raised before the first token
    reading: asyncio.Task[None] | None = None  # up to the first token
    is_left: bool = False  # another deployment is asked in its place
    _held: list[object] = field(default_factory=list)
    _has_more: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[object]:
        """The pieces up to the first token. Raises what LiteLLM raised."""
        place = 0
        while True:
            while place < len(self._held):  # more may come while the client takes one
                place += 1
                yield self._held[place - 1]
            if self.reading is None or self.reading.done():
                self.check()
                return
            self._has_more.clear()
            await self._has_more.wait()

    @property
    def is_reading(self) -> bool:
        """Whether there is no token yet, and no end."""
        return self.reading is not None and not self.reading.done()

    def check(self) -> None:
        """Raises what LiteLLM raised."""
        if self.error is not None:
            raise self.error

    @property
    def is_cut(self) -> bool:
        """Whether a chat ended before its first token without an end from its server. LiteLLM then makes one up.

        LiteLLM keeps the pieces that it bills. An end that the server sent is among them, LiteLLM's own is not. If the
        server counted tokens of an answer, they are billed, and the chat is not cut.
        """
        if self.first_token_s is not None or not self._held or _end_of(self._held[-1]) != "stop":
            return False
        chunks = getattr(self.response, "chunks", None)
        keeps_ends = hasattr(self.response, "fallback_headers_adopted")  # older versions of LiteLLM keep none
        return keeps_ends and isinstance(chunks, list) and not any(_end_of(one) or _is_billed(one) for one in chunks)

    async def token_within(self, seconds: float | None) -> bool:
        """Reads until a piece has a token, or the stream ends. False where neither happened in time."""
        if self.reading is None:
            self.reading = asyncio.create_task(self._read(), name="slo_router reads ahead")
            self.reading.add_done_callback(lambda _: self._has_more.set())
        try:
            await asyncio.wait({self.reading}, timeout=seconds)
        except asyncio.CancelledError:
            await self.close()
            raise
        return self.reading.done()

    async def keep_ahead_of(self, other: Ahead, seconds: float) -> None:
        """Reads both for `seconds`, until one has a token or this one ends. Raises OutrunError if `other` has one."""
        until_s = time.monotonic() + seconds
        while self.is_reading and other.first_token_s is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            reading = [one.reading for one in (self, other) if one.reading is not None and one.is_reading]
            await asyncio.wait(reading, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if self.first_token_s is None and other.first_token_s is not None:
            raise OutrunError

    async def _read(self) -> None:
        look = Look()
        _read_here.set(self)
        try:
            async for piece in self.rest:
                self._held.append(piece)
                self._has_more.set()
                if look.finds_token(piece):
                    self.first_token_s = time.time()
                    return
                if self.is_cut:  # if it were read to its very end, LiteLLM would book it as an answer
                    return
        except Exception as error:  # noqa: BLE001  # `check` raises it where this is iterated
            self.error = error

    async def close(self) -> None:
        """Stops reading, and closes the connection to the deployment."""
        if self.reading is not None and not self.reading.done():
            self.reading.cancel()
            await asyncio.wait({self.reading}, timeout=CLOSED_WITHIN_S)
        for one in (self.rest, self.response):
            closing = getattr(one, "aclose", None)
            if closing is not None:
                with contextlib.suppress(Exception):
                    await closing()


_read_here: ContextVar[Ahead | None] = ContextVar("the stream that this task reads ahead", default=None)


def is_left() -> bool:
    """Whether this task reads a stream while another deployment is asked in its place: then none may continue it."""
    ahead = _read_here.get()
    return ahead is not None and ahead.is_left


def _end_of(piece: object) -> object:
    """The reason that a piece of a chat names for the answer's end; `None` where it names none."""
    choices = getattr(piece, "choices", None)
    return next((end for one in choices or () if (end := getattr(one, "finish_reason", None))), None)


def _is_billed(piece: object) -> bool:
    tokens = getattr(getattr(piece, "usage", None), "completion_tokens", None)
    return isinstance(tokens, int) and tokens > 0


def source_of(response: Any, callback: object, data: Request, key: object) -> AsyncIterator[object]:
    """The pieces of LiteLLM's stream, as the callbacks that come before this plugin leave them."""
    keeps_all = CustomLogger.async_post_call_streaming_iterator_hook
    for one in litellm.callbacks:
        if one is callback:
            break
        if isinstance(one, CustomLogger) and type(one).async_post_call_streaming_iterator_hook is not keeps_all:
            response = one.async_post_call_streaming_iterator_hook(
                user_api_key_dict=key, response=response, request_data=data
            )
    source: AsyncIterator[object] = response.__aiter__()
    return source


def is_guarded() -> bool:
    """Whether a guardrail may want to see an answer. LiteLLM then holds back what it logs of the first stream."""
    return any(isinstance(one, CustomGuardrail) for one in litellm.callbacks)


async def again(data: Request, route: str) -> tuple[object, Request]:
    """Sends the same request through the router again, as a request of its own. Returns the answer and that request.

    Raises whatever LiteLLM raises.
    """
    request = {**data}
    for name in METADATA_KEYS:
        metadata = request.get(name)
        if isinstance(metadata, Mapping):
            request[name] = {**metadata}
    own: Any = copy.copy(data.get("litellm_logging_obj"))
    if own is not None:  # a copy, for LiteLLM keeps an attempt's costs and times there
        own.model_call_details = {
            name: value for name, value in own.model_call_details.items() if name not in OF_ONE_ANSWER
        }
        own.streaming_chunks, own.completion_start_time = [], None
        request["litellm_logging_obj"] = own
    calling = await route_request(data=request, llm_router=current_router(), user_model=None, route_type=route)
    return await calling, request


def adopt(first: object, second: object, data: Request, request: Request) -> dict[str, str]:
    """Makes LiteLLM go on with the second answer as if it were the first: its headers, what it logs and bills.

    Returns the second's values of headers that older versions of LiteLLM have already read off the first.
    """
    headers: dict[str, str] = {}
    mine, its = getattr(first, "_hidden_params", None), getattr(second, "_hidden_params", None)
    if isinstance(mine, dict) and isinstance(its, Mapping):
        if mine.get("api_base") and its.get("api_base"):
            headers[BASE_HEADER] = str(its["api_base"])
        mine.clear()
        mine.update(its)
    if hasattr(first, "chunks") and hasattr(second, "chunks"):  # LiteLLM bills these if the client leaves
        with contextlib.suppress(AttributeError):
            first.chunks = second.chunks
    data["litellm_logging_obj"] = request.get("litellm_logging_obj")
    for name in METADATA_KEYS:
        metadata, told = data.get(name), request.get(name)
        if isinstance(metadata, dict) and isinstance(told, Mapping):
            metadata.update(told)
    return headers
