"""No healthy deployment is shut for more than a second without a failure of its own, whatever the traffic is.

In virtual time, three workers use three deployments that never fail. The traffic has streams, whole answers that take
minutes, requests whose tools and images are ten times larger than estimated, bursts, clients that leave, requests that
are refused for their own fault, and mirrored calls. Health checks wait in the same queue, or cannot tell.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from slo_router.contract.model import Facts, Features, Metrics, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.known import prior
from slo_router.decision.prediction import View
from slo_router.live import account
from slo_router.live.circuit import share
from slo_router.live.live import Live
from slo_router.live.probes import Health, probe_ended, probes_due
from slo_router.live.state import Ending, LiveState
from slo_router.request.lengths import Seen, assumed
from slo_router.worker.learning.lessons import expected_s
from slo_router.worker.snapshot import make_snapshot
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, absorb, told_by

NAMES = ("one", "two", "three")
FACTS = [Facts(name, "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6) for name in NAMES]
POLICY = Policy(GroupSettings(slo={"ttft_ms": 500}), "cafe0123")
BENCHMARK = Metrics(NOW_S - 3_600, 0.1, tpot_s=0.01, ttft_p95_s=0.15, tpot_p95_s=0.015)
TICK_S, REFRESH_TICKS = 0.25, 4
LONGEST_S = 1.0


class Request(NamedTuple):
    """One request, with the facts that only the server knows."""

    trace: Trace
    features: Features
    true_tokens: int
    answer_tokens: int
    ending: Ending  # as LiteLLM reports it, if the client stays
    leaves_after_s: float | None


class Server:
    """Prefills one prompt after another, 0.1 ms a token, and decodes at 10 ms a token at any load."""

    def __init__(self) -> None:
        self.free_at_s = NOW_S

    def first_token_s(self, now_s: float, tokens: int) -> float:
        """When the first token comes."""
        self.free_at_s = max(self.free_at_s, now_s) + 0.02 + 1e-4 * tokens
        return self.free_at_s


class World:
    """See the module. `check_s`: a health check's time without the queue. `unclear`: share of unclear health checks."""

    def __init__(self, seed: int, check_s: float, unclear: float, *, probes: bool) -> None:
        self.rng = random.Random(seed)
        self.check_s, self.unclear, self.probes = check_s, unclear, probes
        self.snapshot = make_snapshot({name: {"chat": BENCHMARK} for name in NAMES}, NOW_S)
        self.lives = [Live() for _ in range(3)]
        self.servers = {name: Server() for name in NAMES}
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order = itertools.count()
        self.shut_since: dict[tuple[int, str], float] = {}
        self.longest_s = 0.0
        self.served = 0
        self.seen, self.length = Seen(), assumed(300)
        self.wrong = 0  # wrong requests of one application that are still to come
        if probes:
            for live in self.lives:
                live.can_ask = lambda _: True

    def run(self, seconds: float, per_s: float) -> None:
        """Serves traffic for `seconds`, in bursts."""
        at_s = NOW_S
        while at_s < NOW_S + seconds:
            at_s += self.rng.expovariate(per_s / 4)
            for _ in range(self.rng.choice((1, 1, 2, 12))):
                self.at(at_s, self.arrive)
        for tick in range(int(seconds / TICK_S)):
            self.at(NOW_S + tick * TICK_S, functools.partial(self.tick, tick))
        while self.events and self.events[0][0] < NOW_S + seconds:
            now_s, _, what = heapq.heappop(self.events)
            self.look(now_s)
            what(now_s)
            self.look(now_s)

    def at(self, at_s: float, what: Callable[[float], None]) -> None:
        """Schedules a call."""
        heapq.heappush(self.events, (at_s, next(self.order), what))

    def arrive(self, now_s: float) -> None:
        live, request = self.rng.choice(self.lives), self.request()
        view = View(self.snapshot, now_s, self.rng, live.states)
        decision = decide(Ask(request.features, Slo(ttft_s=0.5)), FACTS, view, POLICY)
        request.trace.decision = decision
        name = decision.deployment_id
        flight = live.dispatched(name, now_s, expected_s(request.trace, name, self.length))
        if request.ending in ("refused", "denied", "released"):
            self.at(now_s + 0.03, lambda at_s: live.finished(flight, request.ending, at_s))
            return
        first_s = self.servers[name].first_token_s(now_s, request.true_tokens)
        end_s = first_s + 0.01 * request.answer_tokens
        leaves_s = end_s if request.leaves_after_s is None else now_s + request.leaves_after_s
        if request.trace.stream and first_s < leaves_s:
            told: dict[str, float] = {"ttft_s": first_s - now_s}
            tokens = request.features.prompt_tokens
            self.at(first_s, lambda at_s: live.first_token(flight, at_s, prompt_tokens=tokens, **told))
        if leaves_s < end_s:
            self.at(leaves_s, lambda at_s: live.finished(flight, "disconnected", at_s))
        else:
            self.at(end_s, lambda at_s: live.finished(flight, "success", at_s))
            is_cut = request.answer_tokens == request.features.limit_tokens
            self.at(end_s, lambda at_s: self.seen.add(request.answer_tokens, at_s, is_cut=is_cut))
        self.served += 1

    def request(self) -> Request:
        rng = self.rng
        tokens, off = rng.choice((20, 300, 3_000)), rng.choice((1.0, 1.0, 1.0, 0.3, 10.0))
        answer = min(int(rng.lognormvariate(5, 1.5)) + 1, 60_000)
        limit = rng.choice((None, None, answer, 16, 4_096))
        answer = answer if limit is None else min(answer, limit)
        trace = Trace("acompletion", NOW_S, stream=rng.random() < 0.6)
        features = Features("chat", "client", tokens, min(300, limit or 300), limit or 300, limit_tokens=limit)
        ending: Ending = "success"
        if self.wrong:
            self.wrong, ending = self.wrong - 1, "refused"
        elif rng.random() < 0.01:
            self.wrong = rng.choice((1, 3, 30))
        elif rng.random() < 0.05:
            ending = "released"  # a filtered prompt, one that is too long
        leaves_s = rng.uniform(0, 5) if rng.random() < 0.1 else None
        return Request(trace, features, int(tokens * off), answer, ending, leaves_s)

    def tick(self, tick: int, now_s: float) -> None:
        for live in self.lives:
            live.watch(now_s)
            if self.probes:
                for name in probes_due(live.states, now_s):
                    self.check(live, name, now_s)
        if tick % REFRESH_TICKS == 0:
            self.length = self.seen.posterior(300, now_s)
            heard = [told_by(live, now_s) for live in self.lives]
            priors = {name: prior([BENCHMARK]) for name in NAMES}
            for i, live in enumerate(self.lives):
                absorb(live, [*heard[:i], *heard[i + 1 :]], priors, now_s)

    def check(self, live: Live, name: str, sent_s: float) -> None:
        health: Health = "unclear" if self.rng.random() < self.unclear else "answers"
        done_s = self.servers[name].first_token_s(sent_s, 10) + self.rng.expovariate(1 / self.check_s)
        self.at(done_s, lambda at_s: probe_ended(live.states, name, sent_s, at_s, health))

    def look(self, now_s: float) -> None:
        for i, live in enumerate(self.lives):
            for name, state in live.states.items():
                if is_shut(state, now_s):
                    since_s = self.shut_since.setdefault((i, name), now_s)
                    self.longest_s = max(self.longest_s, now_s - since_s)
                else:
                    self.shut_since.pop((i, name), None)


def is_shut(state: LiveState, now_s: float) -> bool:
    return share(state.circuit, now_s) == 0 or not account.lets_pass(state.account, now_s)


WORLDS = pytest.mark.parametrize(
    ("check_s", "unclear", "probes"), [(0.2, 0.0, True), (8.0, 0.0, True), (0.5, 0.7, True), (0.2, 0.0, False)]
)


def longest_shut_s(seed: int, seconds: float, check_s: float, unclear: float, *, probes: bool) -> float:
    world = World(seed, check_s, unclear, probes=probes)
    world.run(seconds, per_s=6.0)
    assert world.served > 3 * seconds
    return world.longest_s


@WORLDS
def test_no_healthy_deployment_is_shut_for_more_than_a_second(check_s: float, unclear: float, probes: bool) -> None:
    assert longest_shut_s(1, 120.0, check_s, unclear, probes=probes) <= LONGEST_S


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@WORLDS
def test_no_healthy_deployment_is_for_longer_either(seed: int, check_s: float, unclear: float, probes: bool) -> None:
    assert longest_shut_s(seed, 600.0, check_s, unclear, probes=probes) <= LONGEST_S
