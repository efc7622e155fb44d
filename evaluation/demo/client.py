"""Sends the demo's requests as a client would: with OpenAI's SDK, a virtual key, and no knowledge of the router."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import openai
from openai.types.chat import ChatCompletionMessageParam

from evaluation.demo.scenario import GROUP, Ask

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client saw. `ttft_s` is `None` if the answer was not streamed; `error` is the error's class."""

    ask: Ask
    response_id: str | None = None
    ttft_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


def send_all(url: str, keys: Mapping[str, str], asks: Sequence[Ask], concurrency: int) -> list[Answer]:
    """Sends every request, `concurrency` at a time. `keys` are the virtual keys by alias. No failed request raises."""
    return asyncio.run(_send_all(f"{url}/v1", keys, asks, concurrency))


async def _send_all(base: str, keys: Mapping[str, str], asks: Sequence[Ask], concurrency: int) -> list[Answer]:
    free = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=TIMEOUT_S) as shared:
        clients = {alias: shared.with_options(api_key=key) for alias, key in keys.items()}

        async def send(ask: Ask) -> Answer:
            async with free:
                try:
                    return await _send(clients[ask.case.key], ask)
                except openai.OpenAIError as error:
                    return Answer(ask, error=type(error).__name__)

        return await asyncio.gather(*map(send, asks))


async def _send(client: openai.AsyncOpenAI, ask: Ask) -> Answer:
    messages = cast("list[ChatCompletionMessageParam]", ask.messages)
    headers = dict(ask.case.headers)
    create = client.chat.completions.with_raw_response.create
    began_s = perf_counter()
    if not ask.case.stream:
        whole = await create(model=GROUP, messages=messages, max_tokens=ask.max_tokens, extra_headers=headers)
        return Answer(ask, whole.parse().id, None, dict(whole.headers))
    raw = await create(model=GROUP, messages=messages, max_tokens=ask.max_tokens, extra_headers=headers, stream=True)
    response_id: str | None = None
    ttft_s: float | None = None
    async for chunk in raw.parse():
        response_id = chunk.id
        if ttft_s is None and chunk.choices and chunk.choices[0].delta.content:
            ttft_s = perf_counter() - began_s
    return Answer(ask, response_id, ttft_s, dict(raw.headers))
