"""Sends the same prompts at the same instants to each side, whatever became of the earlier ones (open loop).

PATIENCE_S after the end of a phase the client hangs up on requests without an answer. They count as having waited until
then.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import httpx

from evaluation.face_off.client import MODEL_HEADERS, Reading
from evaluation.headline.world import GROUP

PATH = "/v1/chat/completions"
PATIENCE_S = 5.0  # after the phase, for the requests that were sent last


class Phase(NamedTuple):
    """How many requests count, how fast they come, and for how many seconds others come before them."""

    name: str
    requests: int
    rate_per_s: float
    settle_s: float

    @property
    def seconds(self) -> float:
        """The length of the counted time."""
        return self.requests / self.rate_per_s


class Arrival(NamedTuple):
    """A prompt's row and the instant of its request; below 0 the system settles."""

    at_s: float
    row: int


@dataclass(slots=True)
class Seen:
    """What the client saw of one request, in seconds since the phase began. Unknown is `None`."""

    row: int
    sent_s: float
    lag_s: float = 0.0  # how late this process sent
    deployment: str | None = None
    first_s: float | None = None  # when the first token came
    ended_s: float | None = None  # when the answer ended
    error: str | None = None


def arrivals(phase: Phase, rows: Sequence[int], seed: int) -> list[Arrival]:
    """A Poisson process with a fixed count, over prompts in random order. None comes twice before all came once."""
    rng = random.Random(f"headline:{seed}:{phase.name}")
    before = [rng.uniform(-phase.settle_s, 0.0) for _ in range(round(phase.rate_per_s * phase.settle_s))]
    counted = [rng.uniform(0.0, phase.seconds) for _ in range(phase.requests)]
    return [Arrival(at_s, row) for at_s, row in zip(sorted(before + counted), _shuffled(rows, rng), strict=False)]


def _shuffled(rows: Sequence[int], rng: random.Random) -> Iterator[int]:
    while True:
        yield from rng.sample(list(rows), len(rows))


async def play(client: httpx.AsyncClient, phase: Phase, asked: Sequence[Arrival], prompts: Sequence[str]) -> list[Seen]:
    """All requests of a phase in order of arrival, with those sent while the system settles."""
    began_s = perf_counter() + phase.settle_s
    found: list[Seen] = []

    async def ask(arrival: Arrival) -> None:
        await asyncio.sleep(began_s + arrival.at_s - perf_counter())
        now_s = perf_counter() - began_s
        seen = Seen(arrival.row, now_s, now_s - arrival.at_s)
        found.append(seen)
        await send(client, prompts[arrival.row], seen, began_s)

    tasks = [asyncio.create_task(ask(arrival)) for arrival in asked]
    _, late = await asyncio.wait(tasks, timeout=phase.settle_s + phase.seconds + PATIENCE_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()
    return found


async def send(
    client: httpx.AsyncClient,
    prompt: str,
    seen: Seen,
    began_s: float,
    *,
    group: str = GROUP,
    max_tokens: int | None = None,
) -> None:
    """Streams one answer, and notes in `seen` what comes, as soon as it comes."""
    body = {"model": group, "messages": [{"role": "user", "content": prompt}], "stream": True}
    reading = Reading()
    try:
        async with client.stream(
            "POST", PATH, json=body if max_tokens is None else {**body, "max_tokens": max_tokens}
        ) as answer:
            if answer.status_code != httpx.codes.OK:
                seen.error = f"HTTP {answer.status_code}"
                return
            seen.deployment = next((answer.headers[name] for name in MODEL_HEADERS if name in answer.headers), None)
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    reading.event(json.loads(line.removeprefix("data: ")), perf_counter() - began_s)
                    seen.first_s = reading.ttft_s
    except httpx.HTTPError as error:
        seen.error = type(error).__name__
        return
    if reading.is_broken:
        seen.error = "broken stream"
        return
    seen.ended_s = perf_counter() - began_s
