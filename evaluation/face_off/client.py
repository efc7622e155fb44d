"""Sends requests at their instants, whatever became of the earlier ones (open loop), and measures as a user would.

TTFT runs from the send to the first chunk with content, on each route. The proxy's headers tell which deployment
answered, and the usage tells which tokens were paid for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import httpx

from evaluation.face_off.arrivals import Arrival
from evaluation.face_off.outcome import Outcome
from evaluation.face_off.world import GROUP
from evaluation.shared.traffic import PATHS, body

TIMEOUT_S = 12.0  # the longest that a user waits
MODEL_HEADERS = ("x-slo-selected-model", "x-litellm-model-id")
Act = Callable[[httpx.AsyncClient], Awaitable[object]]
Json = dict[str, Any]


def open_client(url: str, auth: Mapping[str, str], timeout_s: float | None = TIMEOUT_S) -> httpx.AsyncClient:
    """A client of one proxy, with no limit on its connections. `timeout_s` is its longest wait for a byte."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, headers=dict(auth), timeout=timeout_s, limits=limits)


async def play(
    client: httpx.AsyncClient, requests: Sequence[Arrival], acts: Sequence[tuple[float, Act]], group: str = GROUP
) -> list[Outcome]:
    """Sends every request and runs every act at its second. Returns the counted outcomes in order of arrival."""
    settle_s = -min([arrival.at_s for arrival in requests] + [at_s for at_s, _ in acts] + [0.0])
    began_s = perf_counter() + settle_s

    async def act(at_s: float, what: Act) -> None:
        await asyncio.sleep(began_s + at_s - perf_counter())
        await what(client)

    async def ask(arrival: Arrival) -> Outcome:
        await asyncio.sleep(began_s + arrival.at_s - perf_counter())
        return await send(client, arrival, group)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(arrival)) for arrival in requests]
        for at_s, what in acts:
            tasks.create_task(act(at_s, what))
    return [task.result() for task in asked if task.result().arrival.counted]


async def send(client: httpx.AsyncClient, arrival: Arrival, group: str = GROUP) -> Outcome:
    """One request on its route, errors included. A client that leaves closes its connection."""
    leaves_s = arrival.ask.leaves_after_s
    try:
        async with asyncio.timeout(TIMEOUT_S if leaves_s is None else min(leaves_s, TIMEOUT_S)):
            return await _send(client, arrival, group)
    except TimeoutError:
        return Outcome(arrival, error="timeout" if leaves_s is None else "left")
    except httpx.HTTPError as error:
        return Outcome(arrival, error=type(error).__name__)


async def _send(client: httpx.AsyncClient, arrival: Arrival, group: str) -> Outcome:
    ask, headers = arrival.ask, {**arrival.contract.headers, "x-slo-category": arrival.kind.category}
    reading = Reading()
    sent_s = perf_counter()
    async with client.stream(
        "POST", PATHS[ask.route], json=body(ask, group, arrival.prompt), headers=headers
    ) as answer:
        if answer.status_code != httpx.codes.OK:
            await answer.aread()
            return Outcome(arrival, error=f"HTTP {answer.status_code}")
        if not ask.stream:
            reading.whole(json.loads(await answer.aread()))
        else:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    reading.event(json.loads(line.removeprefix("data: ")), perf_counter() - sent_s)
    if reading.is_broken:
        return Outcome(arrival, error="broken stream")
    return Outcome(
        arrival,
        next((answer.headers[name] for name in MODEL_HEADERS if name in answer.headers), None),
        reading.ttft_s,
        perf_counter() - sent_s,
        reading.prompt_tokens,
        reading.output_tokens,
    )


class Reading:
    """What an answer says on any route: when its first text or tool call came, and the tokens that were paid for."""

    def __init__(self) -> None:
        self.ttft_s: float | None = None
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.is_broken = False

    def event(self, event: Json, at_s: float) -> None:
        """Reads one event of a stream, which came `at_s` after the send."""
        self.is_broken = self.is_broken or "error" in event
        if self.ttft_s is None and _has_content(event):
            self.ttft_s = at_s
        self.whole(event)
        for part in ("message", "response"):  # of /v1/messages and /v1/responses
            if isinstance(inner := event.get(part), dict):
                self.whole(inner)

    def whole(self, answer: Json) -> None:
        """Reads an answer in one piece, or any other object with a usage."""
        usage = answer.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = usage.get("prompt_tokens") or usage.get("input_tokens") or self.prompt_tokens
            self.output_tokens = usage.get("completion_tokens") or usage.get("output_tokens") or self.output_tokens


def _has_content(event: Json) -> bool:
    delta = event.get("delta")
    match event.get("type"):
        case None:
            deltas = [choice.get("delta") or {} for choice in event.get("choices") or []]
            return any(delta.get("content") or delta.get("tool_calls") for delta in deltas)
        case "content_block_delta":  # of /v1/messages
            return isinstance(delta, dict) and bool(delta.get("text") or delta.get("partial_json"))
        case "response.output_text.delta" | "response.function_call_arguments.delta":
            return bool(delta)
        case _:
            return False
