"""Stands before every request of a run: is there money, is the endpoint ours, has live traffic left it to us?

    async with guard.deployment(facts):          # takes the endpoint's lock, hears of its live traffic
        sample = await guard.measure(target, prompt)      # as `Client.measure`, or StoppedError

Whatever measures deployments sends through a guard. Once a run is stopped it stays stopped: `stopped` says why, by
deployment, for the report. `clock` runs only while a deployment can be measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

from slo_bench.errors import StoppedError
from slo_bench.operation.budget import Budget
from slo_bench.operation.lock import LOST, EndpointLock
from slo_bench.operation.money import charged_usd, most_usd
from slo_bench.operation.pause import Pause
from slo_bench.operation.watch import Own, Tell, Watch
from slo_bench.stream import Sample
from slo_bench.targets import Target
from slo_bench.workload import Prompt
from slo_router.domain import Facts

CHECK_S = 0.1  # between two looks at whether a pause is over

Measure = Callable[[Target, Prompt], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run may take, and what it gives way to."""

    budget_usd: float | None = None
    pause_above: int = 8  # live requests of a deployment
    most_pause_s: float = 600.0  # per deployment
    wait_for_lock: bool = True
    fresh: bool = False  # measures again what an interrupted run has finished


@dataclass(slots=True)
class _Held:
    """A deployment that is being measured."""

    facts: Facts
    pause: Pause
    on_the_way: int = 0
    own: Own = field(default=Own(0, 0.0))


class Guard:
    """The guard of one run. `locks` has the endpoint lock of each deployment; none where there is no Redis."""

    def __init__(
        self, measure: Measure, budget: Budget, terms: Terms, locks: Mapping[str, EndpointLock], watch: Watch
    ) -> None:
        self.stopped: dict[str, str] = {}
        self.lost: set[str] = set()
        self.budget = budget
        self._measure = measure
        self._terms = terms
        self._locks = locks
        self._watch = watch
        self._held: dict[str, _Held] = {}
        self._over: str | None = None

    @asynccontextmanager
    async def deployment(self, facts: Facts, tell: Tell) -> AsyncIterator[None]:
        """Holds a deployment while it is measured. Raises StoppedError where it can't be."""
        name = facts.deployment_id
        self._check(name)
        async with AsyncExitStack() as exits:
            if name in self._locks:
                lock = self._locks[name].held(
                    wait=self._terms.wait_for_lock,
                    on_wait=lambda: tell(f"{name}: waits: another agent is measuring it"),
                    on_lost=lambda: self._lose(name),
                )
                try:
                    await exits.enter_async_context(lock)
                except StoppedError as error:
                    raise self._stop(name, str(error)) from error
            held = self._held[name] = _Held(facts, Pause(self._terms.pause_above, self._terms.most_pause_s))
            exits.callback(self._release, name)
            await self._watch.add(facts, held.pause, lambda: held.own)
            if facts.gpu_usd_per_hour is not None:
                self.budget.gpu_began(name, facts.gpu_usd_per_hour, lambda: self.clock(name))
            yield

    async def measure(self, target: Target, prompt: Prompt) -> Sample:
        """Sends a request of a held deployment when it may be sent. Raises StoppedError where it never may."""
        held = self._held[target.deployment_id]
        await self._until_open(held)
        self._check(target.deployment_id)
        most = most_usd(held.facts, prompt)
        try:
            self.budget.reserve(most, target.deployment_id)
        except StoppedError as error:
            self._over = str(error)
            raise self._stop(target.deployment_id, str(error)) from error
        charged = most  # of a request that is cancelled
        self._sent(held)
        try:
            sample = await self._measure(target, prompt)
            charged = charged_usd(held.facts, prompt, sample)
            return sample
        finally:
            self.budget.settle(most, charged)
            self._ended(held)

    def clock(self, deployment_id: str) -> float:
        """Seconds, standing still while live traffic has the deployment."""
        now_s = perf_counter()
        held = self._held.get(deployment_id)
        return now_s if held is None else now_s - held.pause.paused_s(now_s)

    async def _until_open(self, held: _Held) -> None:
        while held.pause.is_closed:
            try:
                held.pause.check(perf_counter())
            except StoppedError as error:
                raise self._stop(held.facts.deployment_id, str(error)) from error
            self._check(held.facts.deployment_id)
            await asyncio.sleep(CHECK_S)

    def _check(self, deployment_id: str) -> None:
        if self._over is not None:
            raise self._stop(deployment_id, self._over)
        if deployment_id in self.stopped:
            raise StoppedError(self.stopped[deployment_id])

    def _stop(self, deployment_id: str, reason: str) -> StoppedError:
        self.stopped.setdefault(deployment_id, reason)
        return StoppedError(reason)

    def _lose(self, deployment_id: str) -> None:
        self.lost.add(deployment_id)
        self._stop(deployment_id, LOST)

    def _sent(self, held: _Held) -> None:
        held.pause.sent()
        held.on_the_way += 1
        held.own = Own(max(held.own.most, held.on_the_way), perf_counter())

    def _ended(self, held: _Held) -> None:
        held.on_the_way -= 1
        held.own = Own(held.own.most, perf_counter())
        held.pause.ended(perf_counter())

    def _release(self, deployment_id: str) -> None:
        self._watch.drop(deployment_id)
        self.budget.gpu_ended(deployment_id)
        del self._held[deployment_id]
