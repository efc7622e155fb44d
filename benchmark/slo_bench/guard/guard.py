"""Checks the budget, the endpoint's lock and the live traffic before every request of a run.

    async with guard.deployment(facts):          # takes the endpoint's lock, watches its live traffic
        sample = await guard.measure(target, prompt)      # as `Client.measure`, or StoppedError

A stopped run stays stopped: `stopped` has the reason, by deployment. `clock` runs only while a deployment can be
measured. A request that a server refuses in this form is sent again in another form (`Adapting`). A request that met an
outage is sent again after it (`Outage`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from time import perf_counter

from slo_bench.errors import StoppedError
from slo_bench.guard.beside import beside
from slo_bench.guard.budget import Budget, charged_usd, most_usd
from slo_bench.guard.held import Held, Pause, met_outage
from slo_bench.guard.lock import LOST, EndpointLock
from slo_bench.guard.watch import Tell, Watch
from slo_bench.measure.dialect import Adapting
from slo_bench.measure.excuses import DROPPED
from slo_bench.measure.stream import CONNECTION, Sample
from slo_bench.measure.targets import Measure, Target
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient

CHECK_S = 0.1  # between two looks at whether a pause is over
AGAIN_S = 0.5  # between two tries to reach a server that is being restarted


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits of a run."""

    budget_usd: float | None = None
    pause_above: int = 8  # live requests of a deployment
    most_pause_s: float = 600.0  # per deployment
    wait_for_lock: bool = True
    fresh: bool = False  # measures again what an interrupted run has finished
    most_away_s: float = 30.0  # total wait for an unreachable deployment: a restart without loading a large model


class Guard:
    """The guard of one run. `locks` has the endpoint lock of each deployment; it is empty without Redis."""

    def __init__(
        self,
        measure: Measure,
        budget: Budget,
        terms: Terms,
        locks: Mapping[str, EndpointLock],
        watch: Watch,
        *,
        tell: Tell = lambda _: None,
    ) -> None:
        self.stopped: dict[str, str] = {}
        self.lost: set[str] = set()
        self.budget = budget
        self._measure = measure
        self._terms = terms
        self._locks = locks
        self._watch = watch
        self._tell = tell
        self._held: dict[str, Held] = {}
        self._over: str | None = None
        self._answered: set[str] = set()  # deployments that have answered a request of this run
        self._adapting = Adapting()

    @property
    def notes(self) -> Mapping[str, Sequence[str]]:
        """Remarks by deployment on requests that differed from the workload's."""
        return self._adapting.notes

    @asynccontextmanager
    async def deployment(self, facts: Facts, tell: Tell) -> AsyncIterator[None]:
        """Holds a deployment while it is measured. Raises StoppedError if it cannot be measured."""
        name = facts.deployment_id
        self._check(name)
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
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
            held = self._held[name] = Held(facts, Pause(self._terms.pause_above, self._terms.most_pause_s))
            exits.callback(self._release, name)
            await self._watch.add(facts, held.pause, lambda: held.own)
            if facts.gpu_usd_per_hour is not None:
                self.budget.gpu_began(name, facts.gpu_usd_per_hour, lambda: self.clock(name))
            # Python 3.11's `wait_for` loses a cancellation that comes just after Redis has answered.
            if task is not None and task.cancelling() > cancelled:
                raise asyncio.CancelledError
            yield

    async def measure(self, target: Target, prompt: Prompt) -> Sample:
        """Sends a request to a held deployment as soon as that is allowed. Raises StoppedError if it never is."""
        held = self._held[target.deployment_id]

        async def send(target: Target, prompt: Prompt) -> Sample:
            return await self._outlasting(held, target, prompt)

        return await self._adapting.measure(send, target, prompt, held.facts.max_output_tokens)

    def clock(self, deployment_id: str) -> float:
        """Seconds, without the time in which live traffic uses the deployment, or the deployment cannot be reached."""
        held = self._held.get(deployment_id)
        return perf_counter() if held is None else held.measured_s()

    async def _outlasting(self, held: Held, target: Target, prompt: Prompt) -> Sample:
        """Sends a request. Sends it again after each outage, if the deployment has answered before."""
        name = target.deployment_id
        while True:
            sent_s = held.open_s()
            sample = await self._once(held, target, prompt)
            if sample.error is None:
                self._answered.add(name)
            if name not in self._answered:
                dropped = sample.error == CONNECTION and sample.excuse is None
                return replace(sample, excuse=DROPPED) if dropped else sample
            if not await met_outage(sample, target):
                lasted_s = held.outage.reached(sent_s)
                if lasted_s is not None:
                    self._adapting.note(name, f"was away for {lasted_s:.1f} s; what met that was sent again")
                return sample
            if held.outage.unreached(held.open_s()):
                self._tell(f"{name}: cannot be reached any more: waits for it, {self._terms.most_away_s:g} s at most")
            if held.outage.away_s(held.open_s()) >= self._terms.most_away_s:
                raise self._stop(name, f"it could not be reached any more for {self._terms.most_away_s:g} s")
            await asyncio.sleep(AGAIN_S)

    async def _once(self, held: Held, target: Target, prompt: Prompt) -> Sample:
        await self._until_open(held)
        self._check(target.deployment_id)
        most = most_usd(held.facts, prompt)
        try:
            self.budget.reserve(most, target.deployment_id)
        except StoppedError as error:
            self._over = str(error)
            raise self._stop(target.deployment_id, str(error)) from error
        charged = most  # holds for a request that is cancelled
        held.sent()
        try:
            sample = await self._measure(target, prompt)
            charged = charged_usd(held.facts, prompt, sample)
            return sample
        finally:
            self.budget.settle(most, charged)
            held.ended()

    async def _until_open(self, held: Held) -> None:
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

    def _release(self, deployment_id: str) -> None:
        self._watch.drop(deployment_id)
        self.budget.gpu_ended(deployment_id)
        del self._held[deployment_id]


@asynccontextmanager
async def open_guard(
    measure: Measure,
    budget: Budget,
    terms: Terms,
    *,
    endpoints: Mapping[str, str],
    link: AsyncClient | None,
    prefix: str,
    tell: Tell,
) -> AsyncIterator[Guard]:
    """A guard before `measure`. `endpoints` names each deployment's endpoint, see `lock.endpoint_of`.

    Without `link` nothing is locked, and live traffic is known from the model servers alone.
    """
    locks = {} if link is None else {name: EndpointLock(link, prefix, one) for name, one in endpoints.items()}
    watch = Watch(link, prefix, tell)
    async with beside(watch.run()):
        yield Guard(measure, budget, terms, locks, watch, tell=tell)
