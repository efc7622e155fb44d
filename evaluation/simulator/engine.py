"""The event loop: one policy on one workload, in virtual time.

Around the policy the engine does what LiteLLM's router does for every strategy with its defaults. It retries twice
after an error, but not after the first token, and not an error that LiteLLM takes for the request's fault. It cools a
deployment down for 5 s if that failed more than half of at least 5 requests within the minute, or refused one for its
account (HTTP 402) or its rate limit. After a rate limit the cooldown lasts as long as `Retry-After` says, if it says.
See `should_retry_this_error` in `litellm/router.py` and `litellm/router_utils/cooldown_handlers.py`, 1.108.7.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from evaluation.shared.traffic import Ask
from evaluation.simulator.endpoint import Attempt, Endpoint, Fault, Outcome, Spec
from evaluation.simulator.policy import Call, Choice, Ended, Policy, Probe
from evaluation.simulator.workload import Contract, Noise, Request

RETRIES = 2
TIMEOUT_S = 10.0
TICK_S = 0.25
REMEMBERED_S = 30.0  # a failure this recent explains that a deployment is shut
PROBE = Ask("chat", stream=False, text_tokens=10, answer_tokens=1)  # a health check
RETRIED = frozenset({"error", "timeout", "limited", "forbidden", "given_up"})  # 402 and 400 are not
COOLDOWN_S = 5.0
AT_ONCE = frozenset({"limited", "denied"})  # one such attempt is enough for a cooldown
COUNTED = AT_ONCE | {"error", "timeout", "given_up"}  # no other outcome leads to a cooldown
COOLDOWN_FAILURES = 0.5
COOLDOWN_REQUESTS = 5


class Served(NamedTuple):
    """What became of one request. Times count from its arrival, failed attempts included."""

    request: Request
    choices: Sequence[Choice]  # one for each attempt
    outcome: Outcome
    ttft_s: float | None
    cost_usd: float
    in_time: bool  # whether the time limit was kept
    kept: bool  # whether the whole contract was
    ended_s: float  # virtual time


class Shut(NamedTuple):
    """A deployment that a policy shut for `lasted_s`, although it had done nothing wrong."""

    deployment: int
    from_s: float
    lasted_s: float


class Run(NamedTuple):
    """What became of each request, in the order of their ends, and the deployments shut without a cause."""

    served: Sequence[Served]
    shut: Sequence[Shut]


class Schedule:
    """Calls in order of time; calls for the same time run in the order in which they were scheduled."""

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
    """LiteLLM's cooldowns: the deployments that its router leaves out for a while."""

    count: int
    minute: int = -1
    failed: Counter[int] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)
    until_s: dict[int, float] = field(default_factory=dict)

    def pool(self, now_s: float) -> list[int]:
        """The deployments to choose from; if all are cooling down, all of them."""
        warm = [i for i in range(self.count) if self.until_s.get(i, 0.0) <= now_s]
        return warm or list(range(self.count))

    def note(self, deployment: int, outcome: Outcome, now_s: float, retry_after_s: float | None = None) -> None:
        """Counts one attempt, unless the client left."""
        if int(now_s // 60) != self.minute:
            self.minute = int(now_s // 60)
            self.failed.clear()
            self.total.clear()
        if outcome == "left":
            return
        self.total[deployment] += 1
        if outcome == "success":
            return
        self.failed[deployment] += 1
        total = self.total[deployment]
        is_often = total >= COOLDOWN_REQUESTS and self.failed[deployment] / total > COOLDOWN_FAILURES
        if outcome in AT_ONCE or (outcome in COUNTED and is_often):
            self.until_s[deployment] = now_s + (COOLDOWN_S if retry_after_s is None else retry_after_s)


class Simulation:
    """Endpoints, schedule and what became of each request. `run` may be called once."""

    def __init__(self, specs: Sequence[Spec], faults: Mapping[str, Fault]) -> None:
        self.schedule = Schedule()
        at = self.schedule.at
        self.endpoints = [Endpoint(spec, at, TIMEOUT_S, faults.get(spec.name)) for spec in specs]
        self.served: list[Served] = []
        self._watch = Watch(self.endpoints)
        self._cooldowns = Cooldowns(len(specs))
        self._probes = itertools.count(-1, -1)  # request numbers of probes

    def run(self, policy: Policy, requests: Iterable[Request]) -> Run:
        """Sends every request at its instant, and runs until all have ended."""
        waiting = list(requests)
        for request in waiting:
            self.schedule.at(request.at_s, lambda now_s, request=request: self._place(policy, request, (), now_s))  # type: ignore[misc]
        self._tick(policy, 0.0)
        self.schedule.run(lambda: len(self.served) < len(waiting))
        self._watch.look((), self.schedule.now_s)
        return Run(self.served, self._watch.found)

    def _tick(self, policy: Policy, now_s: float) -> None:
        policy.tick(now_s)
        for probe in policy.probes(now_s):
            self._send(probe, now_s)
        self._watch.look(policy.shut(now_s), now_s)
        self.schedule.at(now_s + TICK_S, lambda now_s: self._tick(policy, now_s))

    def _send(self, probe: Probe, now_s: float) -> None:
        def done(_: Attempt, outcome: Outcome, now_s: float) -> None:
            probe.ended(now_s, outcome)

        request = Request(next(self._probes), now_s, "", PROBE, 40, (), Contract(TIMEOUT_S, 1.0, 0.0), ())
        self.endpoints[probe.deployment].submit(Attempt(request, Noise(1.0, 1.0, 1.0), 1, now_s, done), now_s)

    def _place(self, policy: Policy, request: Request, before: Sequence[Choice], now_s: float) -> None:
        call = Call(request, self._cooldowns.pool(now_s), [choice.deployment for choice in before])
        choice = policy.choose(call, now_s)
        at = choice.deployment
        policy.begun(call, at, now_s)
        choices = (*before, choice)

        def done(attempt: Attempt, outcome: Outcome, now_s: float) -> None:
            begun = attempt.first_token_s is not None and attempt.first_token_s <= now_s
            ttft_s = attempt.first_token_s - attempt.sent_s if begun and attempt.first_token_s is not None else None
            limit = self.endpoints[at].spec.habits.limit
            self._cooldowns.note(at, outcome, now_s, limit.retry_after_s if limit and outcome == "limited" else None)
            is_over = outcome not in RETRIED or ttft_s is not None or len(choices) > RETRIES
            policy.ended(Ended(request, at, outcome, ttft_s, now_s - attempt.sent_s, is_over), now_s)
            if is_over:
                self.served.append(self._serve(attempt, choices, outcome, now_s))
            else:
                self._place(policy, request, choices, now_s)

        def begun(first_s: float) -> None:
            policy.first_token(request, first_s - now_s, first_s)

        attempt = Attempt(request, request.noise[at], request.answers[at], now_s, done, begun)
        self.endpoints[at].submit(attempt, now_s)
        self._watch_over(policy, attempt, at, policy.deadline_s(request, now_s))
        if request.ask.leaves_after_s is not None:
            leaves_s = max(request.at_s + request.ask.leaves_after_s, now_s)
            self.schedule.at(leaves_s, lambda now_s: self.endpoints[at].leave(attempt, now_s))

    def _watch_over(self, policy: Policy, attempt: Attempt, at: int, after_s: float | None) -> None:
        """Asks the policy after `after_s` what to do with the attempt, if it has no first token by then."""
        if after_s is None:
            return

        def look(now_s: float) -> None:
            has_token = attempt.first_token_s is not None and attempt.first_token_s <= now_s
            if attempt.ended or has_token:
                return
            again_s = policy.look(attempt.request, now_s)
            if again_s == 0:
                self.endpoints[at].leave(attempt, now_s, "given_up")
            else:
                self._watch_over(policy, attempt, at, again_s)

        self.schedule.at(self.schedule.now_s + after_s, look)

    def _serve(self, attempt: Attempt, choices: Sequence[Choice], outcome: Outcome, now_s: float) -> Served:
        request, spec = attempt.request, self.endpoints[choices[-1].deployment].spec
        success = outcome == "success"
        ttft_s = attempt.first_token_s - request.at_s if success and attempt.first_token_s is not None else None
        taken_s = ttft_s if request.ask.stream else now_s - request.at_s
        in_time = success and taken_s is not None and taken_s <= request.contract.time_s
        cost_usd = spec.cost_usd(request.prompt_tokens, attempt.output_tokens) if success else 0.0
        kept = in_time and affordable(spec, request, attempt.output_tokens)
        return Served(request, choices, outcome, ttft_s, cost_usd, in_time, kept, now_s)


class Watch:
    """Looks for deployments that a policy shuts although they did nothing wrong, neither shortly before nor since."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.found: list[Shut] = []
        self._endpoints = endpoints
        self._since_s: dict[int, float] = {}

    def look(self, shut: Collection[int], now_s: float) -> None:
        """Notes the deployments that are shut now. The engine calls this every TICK_S."""
        for i, endpoint in enumerate(self._endpoints):
            since_s = self._since_s.get(i, now_s)
            if i in shut:
                self._since_s[i] = since_s
            elif i in self._since_s:
                del self._since_s[i]
                if endpoint.failed_at_s < since_s - REMEMBERED_S and not endpoint.is_in_trouble:
                    self.found.append(Shut(i, since_s, now_s - since_s))


def affordable(spec: Spec, request: Request, output_tokens: int) -> bool:
    """Whether an answer of this many tokens keeps the cost limit and the quality floor, whatever its speed."""
    per_1k_usd = spec.cost_usd(request.prompt_tokens, output_tokens) * 1_000
    return (
        per_1k_usd <= request.contract.cost_per_1k_usd * (request.prompt_tokens + output_tokens)
        and spec.quality[request.category] >= request.contract.min_quality
    )
