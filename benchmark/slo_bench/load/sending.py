"""Sends requests in a closed or an open loop, and notes how each was sent.

A loop ends when every request has ended. If `measure` raises StoppedError, the loop sends nothing more, waits for the
requests in flight, and then raises it. Cancelling the loop cancels the requests in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import NamedTuple

from slo_bench.errors import StoppedError
from slo_bench.load.arrivals import Arrival
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Measure, Target
from slo_bench.prompts.workload import Prompt


class Sent(NamedTuple):
    """One request that has ended."""

    prompt: Prompt
    sample: Sample
    sent_s: float  # seconds on the monotonic clock
    ended_s: float
    in_flight: int  # other requests of this loop in flight when it was sent
    lag_s: float | None = None  # actual − scheduled send time; `None` in a closed loop


Take = Callable[[Sent], None]
Clock = Callable[[], float]


class Sender:
    """Sends to one target, and calls `take` with each finished request. `clock` gives monotonic seconds."""

    def __init__(self, target: Target, measure: Measure, take: Take, clock: Clock = perf_counter) -> None:
        self._target = target
        self._measure = measure
        self._take = take
        self._clock = clock
        self._in_flight = 0
        self._stopped: StoppedError | None = None

    async def closed_loop(self, prompts: Iterable[Prompt], concurrency: int) -> None:
        """Keeps `concurrency` requests in flight until all are sent."""
        waiting = iter(prompts)

        async def worker() -> None:
            for prompt in waiting:  # shared by the workers: each takes the next
                if self._stopped is not None:
                    return
                await self._send(prompt, None)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
        self._raise_if_stopped()

    async def open_loop(self, prompts: Iterable[Prompt], arrivals: Sequence[Arrival]) -> None:
        """Sends each prompt at its arrival's time from now, whatever is in flight."""
        begun_s = self._clock()
        async with asyncio.TaskGroup() as group:
            for prompt, arrival in zip(prompts, arrivals, strict=True):
                due_s = begun_s + arrival.at_s
                await asyncio.sleep(max(due_s - self._clock(), 0.0))
                if self._stopped is not None:
                    break
                group.create_task(self._send(prompt, due_s))
        self._raise_if_stopped()

    async def _send(self, prompt: Prompt, due_s: float | None) -> None:
        sent_s, in_flight = self._clock(), self._in_flight
        self._in_flight += 1
        try:
            sample = await self._measure(self._target, prompt)
        except StoppedError as error:
            self._stopped = self._stopped or error
        else:
            lag_s = None if due_s is None else sent_s - due_s
            self._take(Sent(prompt, sample, sent_s, self._clock(), in_flight, lag_s))
        finally:
            self._in_flight -= 1

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped
