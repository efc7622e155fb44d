"""What the look at a stream costs: CPU for each piece, before the first token and after it.

A stream passes through the chain of hooks of LiteLLM's proxy, with the plugin and without it, in a loop of its own. The
thread's CPU clock times it. Two whole proxies cannot show so small a difference:
`evaluation.overhead.proxy_overhead --stream --chunks 500` shows that it is lost in their noise.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import litellm
from litellm.caching import DualCache
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.hooks.responses_id_security import ResponsesIDSecurity
from litellm.proxy.utils import ProxyLogging

from evaluation.routing.first_token.habits import CHAT, HABITS, MESSAGES
from slo_router.contract.first_token import Look
from slo_router.contract.settings.config import parse_settings
from slo_router.gateway.hooks import Plugin
from slo_router.worker.trace import TRACE_KEY, Trace

PIECES, LOOKS, REPEATS, NS_PER_US = 50_000, 500, 11, 1_000.0
OPENINGS = [
    piece
    for habit in HABITS
    for end in (CHAT, MESSAGES)
    if end in habit.streams
    for piece in habit.streams[end].opening
]


class Cost(NamedTuple):
    """Microseconds of CPU for a piece: the quickest of `REPEATS`, because others only add to it."""

    before_us: float
    after_us: float


async def cost_us() -> Cost:
    """The cost of a look at a piece of the opening, and of passing on a piece after the first token."""
    entry = {"model_name": "smart", "litellm_params": {"model": "openai/m"}, "model_info": {"id": "m"}}
    section: dict[str, object] = {"groups": {"smart": {}}}
    plugin = Plugin(parse_settings({"model_list": [entry], "callback_settings": {"slo_router": section}}, {}))
    always = ResponsesIDSecurity()  # a hook of LiteLLM's own, in every proxy
    took = [(await _handed_on_us([always]), await _handed_on_us([always, plugin])) for _ in range(REPEATS)]
    without_us, with_us = map(min, zip(*took, strict=True))
    return Cost(min(_look_us() for _ in range(REPEATS)), with_us - without_us)


async def _handed_on_us(callbacks: list[object]) -> float:
    litellm.callbacks = callbacks
    trace = Trace("acompletion", time.time(), stream=True, awaits_token=False)
    stream = ProxyLogging(user_api_key_cache=DualCache()).async_post_call_streaming_iterator_hook(
        response=_pieces(), user_api_key_dict=UserAPIKeyAuth(), request_data={"metadata": {TRACE_KEY: trace}}
    )
    begun_ns = time.thread_time_ns()
    async for _ in stream:
        pass
    return (time.thread_time_ns() - begun_ns) / PIECES / NS_PER_US


async def _pieces() -> AsyncIterator[object]:
    for _ in range(PIECES):
        yield b"data: {}\n\n"


def _look_us() -> float:
    begun_ns = time.thread_time_ns()
    for _ in range(LOOKS):
        look = Look()
        for piece in OPENINGS:
            look.finds_token(piece)
    return (time.thread_time_ns() - begun_ns) / LOOKS / len(OPENINGS) / NS_PER_US
