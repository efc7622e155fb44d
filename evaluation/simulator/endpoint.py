"""An inference server reduced to what a client can see of it: slots, a queue and the pace of tokens.

A request waits FCFS for one of `slots`. Then it waits for the prefill, which computes one prompt at a time. Then it
decodes beside the other requests, more slowly the more there are (continuous batching, Orca, OSDI '22):

    TTFT = wait for a slot + max(overhead, wait for the prefill) + prompt tokens × prefill_s_per_token
    TPOT = tpot_s × (1 + tpot_growth × (running − 1))

Decoding is simulated exactly with one event per answer, as in fair queueing. Each endpoint has a token clock that
advances by dt / TPOT. An answer of n tokens ends n − 1 units after its first token, however often the pace changes.

A server refuses at once a request that is wrong or too long, a request beyond its rate limit, and every request while
its account is out of credit.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from zlib import crc32

from evaluation.shared.traffic import PLAIN, Habits
from evaluation.simulator.workload import Noise, Request

# error: HTTP 5xx; timeout: no answer in time; limited: 429; denied: 402; forbidden: 403; unclear: 400; own: 400 whose
# words speak of the request; left: the client hung up; given_up: the router did not wait for the first token
Outcome = Literal["success", "error", "timeout", "limited", "denied", "forbidden", "unclear", "own", "left", "given_up"]
FaultKind = Literal["slow", "error", "hang", "credit", "stall", "warming"]
At = Callable[[float, Callable[[float], None]], None]  # schedules a call at a time in seconds
ERROR_AFTER_S = 0.01  # a refused connection is noticed after a round trip
WARMING_STEPS = 10


@dataclass(frozen=True, slots=True)
class Spec:
    """What an endpoint is. Prices are USD per token, qualities by category."""

    name: str
    overhead_s: float
    prefill_s_per_token: float
    tpot_s: float
    slots: int
    input_usd_per_token: float
    output_usd_per_token: float
    quality: Mapping[str, float]
    tpot_growth: float = 0.02
    sigma: float = 0.12  # of the log-normal noise on each phase
    context_tokens: int = 131_072
    habits: Habits = PLAIN
    model: str = ""  # the model that it serves; empty: `name`

    @property
    def served(self) -> str:
        """The model that answers here."""
        return self.model or self.name

    def cost_usd(self, prompt_tokens: int, output_tokens: int) -> float:
        """What an answer costs."""
        return prompt_tokens * self.input_usd_per_token + output_tokens * self.output_usd_per_token


class Fault(NamedTuple):
    """What an endpoint does wrong from `start_s` to `end_s`. `slow` multiplies every latency by `factor`.

    `warming` is a server that starts: slow by `factor` at first, then less and less. `stall` holds the first token of a
    `share` of the requests for `stall_s`. `refusal` is how an endpoint without credit answers.
    """

    kind: FaultKind
    start_s: float
    end_s: float
    factor: float = 1.0
    refusal: Outcome = "denied"
    share: float = 0.0
    stall_s: float = 0.0


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of one request at one endpoint; `done` is called exactly once."""

    request: Request
    noise: Noise
    output_tokens: int
    sent_s: float
    done: Callable[[Attempt, Outcome, float], None]
    begun: Callable[[float], None] = lambda _now_s: None  # called with the first token
    first_token_s: float | None = None  # known in advance once a slot is held
    ended: bool = False

    @property
    def work(self) -> float:
        """How long decoding takes, in units of the token clock."""
        return (self.output_tokens - 1) * self.noise.decode


@dataclass(slots=True, eq=False)
class Endpoint:
    """The state that all requests of one endpoint share. `at` is the engine's schedule."""

    spec: Spec
    at: At
    timeout_s: float
    fault: Fault | None = None
    slow: float = 1.0
    down: Literal["error", "hang"] | None = None
    broke: Outcome | None = None  # how the endpoint answers while it is out of credit
    stalling: Fault | None = None
    failed_at_s: float = -math.inf  # when the endpoint last did something wrong
    queue: deque[Attempt] = field(default_factory=deque)
    prefilling: dict[Attempt, None] = field(default_factory=dict)  # a set that keeps its order
    decoding: list[tuple[float, int, Attempt]] = field(default_factory=list)  # heap by the token clock at the end
    prefill_free_s: float = 0.0
    tokens: float = 0.0  # the token clock
    read_s: float = 0.0  # when it was read last
    _allowed: float = math.inf  # requests that the rate limit still lets pass, as of `_allowed_at_s`
    _allowed_at_s: float = 0.0
    _version: int = 0

    def __post_init__(self) -> None:
        if (fault := self.fault) is not None:
            self.at(fault.start_s, lambda now_s: self._begin(fault, now_s))
            self.at(fault.end_s, self._recover)
            if fault.kind == "warming":
                for step in range(1, WARMING_STEPS):
                    part = step / WARMING_STEPS
                    left = fault._replace(factor=1 + (fault.factor - 1) * (1 - part))
                    at_s = fault.start_s + part * (fault.end_s - fault.start_s)
                    self.at(at_s, lambda now_s, left=left: self._begin(left, now_s))  # type: ignore[misc]

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return len(self.prefilling) + len(self.decoding)

    def tpot_s(self, running: int) -> float:
        """Seconds per token with this many requests running, at present."""
        return self.spec.tpot_s * (1 + self.spec.tpot_growth * (running - 1)) * self.slow

    @property
    def is_in_trouble(self) -> bool:
        """Whether it does something wrong at present."""
        return self.down is not None or self.broke is not None or self.slow > 1 or self.stalling is not None

    def refusal(self, request: Request, now_s: float) -> Outcome | None:
        """How the endpoint would refuse this request now; `None` if it would take the request."""
        if self.broke is not None:
            return self.broke
        if self._allowance(now_s) < 1:
            return "limited"
        if request.ask.fault == "parameter":
            return "unclear"
        if request.ask.fault is not None or request.ask.needs_tokens > self.spec.context_tokens:
            return "own"
        return None

    def submit(self, attempt: Attempt, now_s: float) -> None:
        """Takes a request into a slot or the queue. A server that is down answers with an error or never."""
        refusal = self.refusal(attempt.request, now_s)
        if self.is_in_trouble or refusal == "limited":
            self.failed_at_s = now_s
        if self.down is not None:
            self._give_up(attempt, now_s + (ERROR_AFTER_S if self.down == "error" else self.timeout_s))
            return
        if refusal is not None:
            self.at(now_s + ERROR_AFTER_S, lambda now_s: _end(attempt, refusal, now_s))
            return
        self._allowed -= 1
        if self.running < self.spec.slots:
            self._admit(attempt, now_s)
        else:
            self.queue.append(attempt)

    def leave(self, attempt: Attempt, now_s: float, outcome: Outcome = "left") -> None:
        """The client or the router hangs up, which frees the slot or the place in the queue."""
        if attempt.ended:
            return
        if self.down is not None:
            if outcome == "given_up":
                _end(attempt, outcome, now_s)
            return
        self._read_clock(now_s)
        if attempt in self.queue:
            self.queue.remove(attempt)
        else:
            self.prefilling.pop(attempt, None)
            self.decoding = [entry for entry in self.decoding if entry[2] is not attempt]
            heapq.heapify(self.decoding)
            self._wait_for_next(now_s)
            if self.queue:
                self._admit(self.queue.popleft(), now_s)
        _end(attempt, outcome, now_s)

    def _allowance(self, now_s: float) -> float:
        limit = self.spec.habits.limit
        if limit is not None:
            grown = self._allowed + (now_s - self._allowed_at_s) * limit.per_minute / 60
            self._allowed, self._allowed_at_s = min(grown, limit.burst), now_s
        return self._allowed

    def prefilled_s(self, request: Request, noise: Noise, admitted_s: float, prefill_free_s: float) -> float:
        """When the first token is ready of a request that gets its slot at `admitted_s`."""
        ready_s = admitted_s + self.spec.overhead_s * noise.overhead * self.slow
        prefill_s = request.prompt_tokens * self.spec.prefill_s_per_token * noise.prefill * self.slow
        return max(ready_s, prefill_free_s) + prefill_s

    def stall_s(self, request: Request) -> float:
        """How long the first token is held, if the request gets its slot now. Chance decides, by its number."""
        fault = self.stalling
        is_held = fault is not None and crc32(str(request.number).encode()) < fault.share * 2**32
        return fault.stall_s if fault is not None and is_held else 0.0

    def _admit(self, attempt: Attempt, now_s: float) -> None:
        self._read_clock(now_s)
        self.prefill_free_s = self.prefilled_s(attempt.request, attempt.noise, now_s, self.prefill_free_s)
        attempt.first_token_s = self.prefill_free_s + self.stall_s(attempt.request)
        self.prefilling[attempt] = None
        self.at(attempt.first_token_s, lambda now_s: self._decode(attempt, now_s))
        self._wait_for_next(now_s)

    def _decode(self, attempt: Attempt, now_s: float) -> None:
        if attempt not in self.prefilling:
            return  # given up meanwhile
        self._read_clock(now_s)
        del self.prefilling[attempt]
        attempt.begun(now_s)
        heapq.heappush(self.decoding, (self.tokens + attempt.work, attempt.request.number, attempt))
        self._wait_for_next(now_s)

    def _read_clock(self, now_s: float) -> None:
        """Advances the token clock. Called before anything changes the pace."""
        if self.decoding:
            self.tokens += (now_s - self.read_s) / self.tpot_s(self.running)
        self.read_s = now_s

    def _wait_for_next(self, now_s: float) -> None:
        """Schedules the next end of an answer. Called after anything changed the pace."""
        self._version += 1
        if self.decoding:
            version, left = self._version, max(0.0, self.decoding[0][0] - self.tokens)
            self.at(now_s + left * self.tpot_s(self.running), lambda now_s: self._finish(version, now_s))

    def _finish(self, version: int, now_s: float) -> None:
        if version != self._version:
            return  # the pace changed meanwhile
        self._read_clock(now_s)
        attempt = heapq.heappop(self.decoding)[2]
        self._wait_for_next(now_s)
        if self.queue:
            self._admit(self.queue.popleft(), now_s)
        _end(attempt, "success", now_s)

    def _begin(self, fault: Fault, now_s: float) -> None:
        self._read_clock(now_s)
        self.failed_at_s = now_s
        match fault.kind:
            case "stall":
                self.stalling = fault
            case "slow" | "warming":
                self.slow = fault.factor
            case "credit":
                self.broke = fault.refusal  # requests in flight are still answered
            case "error" | "hang":
                self._fall(fault.kind, now_s)
        self._wait_for_next(now_s)

    def _fall(self, kind: Literal["error", "hang"], now_s: float) -> None:
        """From now on the endpoint answers nothing, not even requests in flight."""
        self.down = kind
        for attempt in (*self.queue, *self.prefilling, *(entry[2] for entry in self.decoding)):
            gone_s = now_s if kind == "error" else max(now_s, attempt.sent_s + self.timeout_s)
            if attempt.first_token_s is not None and attempt.first_token_s > now_s:
                attempt.first_token_s = None  # it will not come
            self._give_up(attempt, gone_s)
        self.queue.clear()
        self.prefilling.clear()
        self.decoding.clear()
        self.prefill_free_s = now_s

    def _recover(self, now_s: float) -> None:
        self._read_clock(now_s)
        self.slow, self.down, self.broke, self.stalling = 1.0, None, None, None
        self.failed_at_s = now_s
        self._wait_for_next(now_s)

    def _give_up(self, attempt: Attempt, when_s: float) -> None:
        outcome: Outcome = "timeout" if self.down == "hang" else "error"
        self.at(when_s, lambda now_s: _end(attempt, outcome, now_s))


def _end(attempt: Attempt, outcome: Outcome, now_s: float) -> None:
    if not attempt.ended:
        attempt.ended = True
        attempt.done(attempt, outcome, now_s)
