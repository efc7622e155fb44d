"""Reads a stream ahead to its first token, before the answer's headers leave, and takes another's where it is silent.

    LiteLLM has a stream ──→ read pieces, and hold them ──token──→ they go to the client, and the rest after them
                                     ├──deadline──→ the same request goes through the router again, as a request of its
                                     │              own: whoever was tried is left out
                                     │                 └─→ it has a token: it is the answer, and the first is closed
                                     │                     it fails, or the first has one before: that is read on
                                     └──it breaks─→ likewise; if that fails the client gets the first one's error

Where the first one breaks while another is asked, LiteLLM may ask by itself for more of it: `is_left` refuses that.

One that takes the place of another may break in turn: then yet another is asked for, as often as LiteLLM would retry.

Other callbacks that look at the pieces, and stand before this plugin, see those of both streams; `source_of` asks them.
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
OF_ONE_ANSWER = ("combined_usage_object", "response_cost", "completion_start_time")  # LiteLLM's, of a broken stream
BASE_HEADER = "x-litellm-model-api-base"  # LiteLLM's own


class OutrunError(Exception):
    """A silent stream had its token before the one that was to take its place."""


class LeftError(Exception):
    """Nobody is asked for a stream that broke while another deployment is asked in its place."""


@dataclass(slots=True, eq=False)
class Ahead:
    """A stream whose first pieces are read: iterate them as they come, and then `rest`."""

    response: object  # LiteLLM's
    rest: AsyncIterator[object]
    first_token_s: float | None = None  # Unix seconds
    headers: dict[str, str] = field(default_factory=dict)  # that are to be said otherwise
    error: Exception | None = None  # that LiteLLM raised before the first token
    reading: asyncio.Task[None] | None = None  # up to the first token
    is_left: bool = False  # another deployment is asked in its place
    _held: list[object] = field(default_factory=list)
    _has_more: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[object]:
        """Those up to the first token. Raises what LiteLLM raised."""
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
        """Whether a chat ended before its first token, and LiteLLM made that end up, for the server told none.

        LiteLLM keeps the pieces that it bills: an end that the server told is among them, its own is not. A server that
        counted tokens of an answer told one, too: they are billed.
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
        """Reads both until one has a token or this one ends, for so long. Raises OutrunError: the other has one."""
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
                if self.is_cut:  # at its very end LiteLLM would book it as an answer
                    return
        except Exception as error:  # noqa: BLE001  # whoever iterates this gets it
            self.error = error

    async def close(self) -> None:
        """Nobody reads on: the connection to the deployment is closed."""
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
    """Whether this task reads on a stream in whose place another deployment is asked: no more is to be asked for it."""
    ahead = _read_here.get()
    return ahead is not None and ahead.is_left


def _end_of(piece: object) -> object:
    """Why a piece of a chat says that the answer ends; `None` where it does not."""
    choices = getattr(piece, "choices", None)
    return next((end for one in choices or () if (end := getattr(one, "finish_reason", None))), None)


def _is_billed(piece: object) -> bool:
    tokens = getattr(getattr(piece, "usage", None), "completion_tokens", None)
    return isinstance(tokens, int) and tokens > 0


def source_of(response: Any, callback: object, data: Request, key: object) -> AsyncIterator[object]:
    """The pieces of LiteLLM's stream, as the callbacks that stand before this one leave them."""
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
    """Whether a guardrail may want to see an answer: LiteLLM then holds what it logs of the first one."""
    return any(isinstance(one, CustomGuardrail) for one in litellm.callbacks)


async def again(data: Request, route: str) -> tuple[object, Request]:
    """The same request as one of its own: what LiteLLM answers, and the request. Raises whatever LiteLLM raises."""
    request = {**data}
    for name in METADATA_KEYS:
        metadata = request.get(name)
        if isinstance(metadata, Mapping):
            request[name] = {**metadata}
    own: Any = copy.copy(data.get("litellm_logging_obj"))
    if own is not None:  # one of its own: an attempt's costs and times are kept there
        own.model_call_details = {
            name: value for name, value in own.model_call_details.items() if name not in OF_ONE_ANSWER
        }
        own.streaming_chunks, own.completion_start_time = [], None
        request["litellm_logging_obj"] = own
    calling = await route_request(data=request, llm_router=current_router(), user_model=None, route_type=route)
    return await calling, request


def adopt(first: object, second: object, data: Request, request: Request) -> dict[str, str]:
    """LiteLLM goes on with the second answer as if it were the first: its headers, what it logs and bills.

    Returns headers that older versions of LiteLLM have read off the first by now.
    """
    headers: dict[str, str] = {}
    mine, its = getattr(first, "_hidden_params", None), getattr(second, "_hidden_params", None)
    if isinstance(mine, dict) and isinstance(its, Mapping):
        if mine.get("api_base") and its.get("api_base"):
            headers[BASE_HEADER] = str(its["api_base"])
        mine.clear()
        mine.update(its)
    if hasattr(first, "chunks") and hasattr(second, "chunks"):  # what is billed where the client leaves
        with contextlib.suppress(AttributeError):
            first.chunks = second.chunks
    data["litellm_logging_obj"] = request.get("litellm_logging_obj")
    for name in METADATA_KEYS:
        metadata, told = data.get(name), request.get(name)
        if isinstance(metadata, dict) and isinstance(told, Mapping):
            metadata.update(told)
    return headers
