"""Sends requests at their instants whatever became of the earlier ones (open loop), and measures as a user would.

TTFT runs from the send to the first chunk that carries content. Who answered is read from the proxy's headers, and what
was paid for from the usage chunk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter

import httpx

from evaluation.face_off.arrivals import Arrival
from evaluation.face_off.outcome import Outcome
from evaluation.face_off.world import GROUP

TIMEOUT_S = 12.0  # after that a user is gone
MODEL_HEADERS = ("x-slo-selected-model", "x-litellm-model-id")
Act = Callable[[httpx.AsyncClient], Awaitable[object]]


def open_client(url: str, auth: Mapping[str, str]) -> httpx.AsyncClient:
    """A client of one proxy with as many connections as it takes."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, headers=dict(auth), timeout=TIMEOUT_S, limits=limits)


async def play(
    client: httpx.AsyncClient, requests: Sequence[Arrival], acts: Sequence[tuple[float, Act]]
) -> list[Outcome]:
    """Sends every request and does every act at its second. Returns the counted outcomes in order of arrival."""
    settle_s = -min([arrival.at_s for arrival in requests] + [at_s for at_s, _ in acts] + [0.0])
    began_s = perf_counter() + settle_s

    async def act(at_s: float, what: Act) -> None:
        await asyncio.sleep(began_s + at_s - perf_counter())
        await what(client)

    async def ask(arrival: Arrival) -> Outcome:
        await asyncio.sleep(began_s + arrival.at_s - perf_counter())
        return await send(client, arrival)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(arrival)) for arrival in requests]
        for at_s, what in acts:
            tasks.create_task(act(at_s, what))
    return [task.result() for task in asked if task.result().arrival.counted]


async def send(client: httpx.AsyncClient, arrival: Arrival, max_tokens: int = 100) -> Outcome:
    """One streaming chat completion, errors included."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _send(client, arrival, max_tokens)
    except TimeoutError:
        return Outcome(arrival, error="timeout")
    except httpx.HTTPError as error:
        return Outcome(arrival, error=type(error).__name__)


async def _send(client: httpx.AsyncClient, arrival: Arrival, max_tokens: int) -> Outcome:
    body = {
        "model": GROUP,
        "messages": [{"role": "user", "content": arrival.prompt}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {**arrival.contract.headers, "x-slo-category": arrival.kind.category}
    ttft_s: float | None = None
    usage: Mapping[str, int] = {}
    sent_s = perf_counter()
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        if answer.status_code != httpx.codes.OK:
            await answer.aread()
            return Outcome(arrival, error=f"HTTP {answer.status_code}")
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:
                return Outcome(arrival, error="broken stream")
            if ttft_s is None and any(choice["delta"].get("content") for choice in chunk["choices"]):
                ttft_s = perf_counter() - sent_s
            usage = chunk.get("usage") or usage
    return Outcome(
        arrival,
        next((answer.headers[name] for name in MODEL_HEADERS if name in answer.headers), None),
        ttft_s,
        perf_counter() - sent_s,
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
    )
