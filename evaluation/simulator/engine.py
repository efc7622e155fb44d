"""The event loop: one policy on one workload, in virtual time.

Around the policy stands what LiteLLM's router does for every strategy with its defaults: two retries after an error
(not after the first token has gone out), and a cooldown of 5 s for a deployment that failed more than half of at least
5 requests within the minute (`litellm/router_utils/cooldown_handlers.py`, 1.106.2).
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from evaluation.simulator.endpoint import Attempt, Endpoint, Fault, Outcome, Spec
from evaluation.simulator.policy import Call, Choice, Ended, Policy, Probe
from evaluation.simulator.workload import Contract, Noise, Request

RETRIES = 2
TIMEOUT_S = 10.0
TICK_S = 0.25
PROBE_TOKENS = (10, 1, 10, 1)  # a health check's: prompt and answer, and what is expected of them
COOLDOWN_S = 5.0
COOLDOWN_FAILURES = 0.5
COOLDOWN_REQUESTS = 5


class Served(NamedTuple):
    """What became of one request. Times count from its arrival, failed attempts included."""

    request: Request
    choices: Sequence[Choice]  # one for each attempt
    outcome: Outcome
    ttft_s: float | None
    cost_usd: float
    kept: bool  # the whole contract
    ended_s: float  # virtual time


class Schedule:
    """Calls in the order of their times, and of their making among equals."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()

    def at(self, when_s: float, call: Callable[[float], None]) -> None:
        """Schedules a call."""
        heapq.heappush(self._heap, (when_s, next(self._order), call))

    def run(self, while_: Callable[[], bool]) -> None:
        """Makes the calls until none is left or `while_` no longer holds."""
        while self._heap and while_():
            self.now_s, _, call = heapq.heappop(self._heap)
            call(self.now_s)


@dataclass(slots=True)
class Cooldowns:
    """LiteLLM's own: which deployments its router leaves out for a while."""

    count: int
    minute: int = -1
    failed: Counter[int] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)
    until_s: dict[int, float] = field(default_factory=dict)

    def pool(self, now_s: float) -> list[int]:
        """The deployments to choose from: all of them where all are cooling down."""
        warm = [i for i in range(self.count) if self.until_s.get(i, 0.0) <= now_s]
        return warm or list(range(self.count))

    def note(self, deployment: int, outcome: Outcome, now_s: float) -> None:
        """Counts one attempt."""
        if int(now_s // 60) != self.minute:
            self.minute = int(now_s // 60)
            self.failed.clear()
            self.total.clear()
        self.total[deployment] += 1
        if outcome == "success":
            return
        self.failed[deployment] += 1
        total = self.total[deployment]
        if total >= COOLDOWN_REQUESTS and self.failed[deployment] / total > COOLDOWN_FAILURES:
            self.until_s[deployment] = now_s + COOLDOWN_S


class Simulation:
    """Endpoints, schedule and what became of each request. `run` may be called once."""

    def __init__(self, specs: Sequence[Spec], faults: Mapping[str, Fault]) -> None:
        self.schedule = Schedule()
        at = self.schedule.at
        self.endpoints = [Endpoint(spec, at, TIMEOUT_S, faults.get(spec.name)) for spec in specs]
        self.served: list[Served] = []
        self._cooldowns = Cooldowns(len(specs))
        self._probes = itertools.count(-1, -1)  # their numbers

    def run(self, policy: Policy, requests: Iterable[Request]) -> list[Served]:
        """What became of each request, in the order of their ends."""
        waiting = list(requests)
        for request in waiting:
            self.schedule.at(request.at_s, lambda now_s, request=request: self._place(policy, request, (), now_s))  # type: ignore[misc]
        self._tick(policy, 0.0)
        self.schedule.run(lambda: len(self.served) < len(waiting))
        return self.served

    def _tick(self, policy: Policy, now_s: float) -> None:
        policy.tick(now_s)
        for probe in policy.probes(now_s):
            self._send(probe, now_s)
        self.schedule.at(now_s + TICK_S, lambda now_s: self._tick(policy, now_s))

    def _send(self, probe: Probe, now_s: float) -> None:
        def done(_: Attempt, outcome: Outcome, now_s: float) -> None:
            probe.ended(now_s, outcome == "success")

        request = Request(next(self._probes), now_s, "", *PROBE_TOKENS, Contract(TIMEOUT_S, 1.0, 0.0), ())
        self.endpoints[probe.deployment].submit(Attempt(request, Noise(1.0, 1.0, 1.0), now_s, done), now_s)

    def _place(self, policy: Policy, request: Request, before: Sequence[Choice], now_s: float) -> None:
        call = Call(request, self._cooldowns.pool(now_s), [choice.deployment for choice in before])
        choice = policy.choose(call, now_s)
        policy.begun(call, choice.deployment, now_s)
        choices = (*before, choice)

        def done(attempt: Attempt, outcome: Outcome, now_s: float) -> None:
            begun = attempt.first_token_s is not None and attempt.first_token_s <= now_s
            ttft_s = attempt.first_token_s - attempt.sent_s if begun and attempt.first_token_s is not None else None
            self._cooldowns.note(choice.deployment, outcome, now_s)
            policy.ended(Ended(request, choice.deployment, outcome, ttft_s, now_s - attempt.sent_s), now_s)
            if outcome == "success" or ttft_s is not None or len(choices) > RETRIES:
                self.served.append(self._serve(attempt, choices, outcome, now_s))
            else:
                self._place(policy, request, choices, now_s)

        def begun(first_s: float) -> None:
            policy.first_token(request, first_s - now_s, first_s)

        attempt = Attempt(request, request.noise[choice.deployment], now_s, done, begun)
        self.endpoints[choice.deployment].submit(attempt, now_s)

    def _serve(self, attempt: Attempt, choices: Sequence[Choice], outcome: Outcome, now_s: float) -> Served:
        request, spec = attempt.request, self.endpoints[choices[-1].deployment].spec
        success = outcome == "success"
        ttft_s = attempt.first_token_s - request.at_s if success and attempt.first_token_s is not None else None
        cost_usd = spec.cost_usd(request.prompt_tokens, request.output_tokens) if success else 0.0
        kept = ttft_s is not None and ttft_s <= request.contract.ttft_s and affordable(spec, request)
        return Served(request, choices, outcome, ttft_s, cost_usd, kept, now_s)


def affordable(spec: Spec, request: Request) -> bool:
    """Whether an endpoint keeps the cost limit and the quality floor, whatever its speed."""
    per_1k_usd = spec.cost_usd(request.prompt_tokens, request.output_tokens) * 1_000
    return (
        per_1k_usd <= request.contract.cost_per_1k_usd * (request.prompt_tokens + request.output_tokens)
        and spec.quality[request.category] >= request.contract.min_quality
    )
