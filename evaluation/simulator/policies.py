"""The baselines, and LiteLLM's own strategies as its 1.108.7 computes them.

latency-based-routing   lowest mean over the last 10 answers, whatever their prompts: of TTFT for streams, of seconds
                        per token for whole answers. Unknown counts as 0; the buffer is 0. The only failure that counts
                        is a timeout: 1,000 s in the list of seconds per token. Streams use that list while no TTFT is
                        known.
cost-based-routing      lowest input + output price per token.
least-busy              lowest in-flight count, the first of `model_list` among equals.

These strategies see the state of the whole proxy at once, as a single worker would. That is kinder than LiteLLM, whose
workers overwrite a shared state. LiteLLM's strategies ignore `tried`: its retries choose anew.
"""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from evaluation.simulator.endpoint import Spec
from evaluation.simulator.policy import Call, Choice, Ended, Policy


class Random(Policy):
    """A random deployment of the pool."""

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        return Choice(self.rng.choice(call.pool))


class Cheapest(Policy):
    """LiteLLM's cost-based-routing: the lowest price per token, whatever the request."""

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        return Choice(
            min(call.pool, key=lambda i: self.specs[i].input_usd_per_token + self.specs[i].output_usd_per_token)
        )


class Largest(Policy):
    """Everything to the best model."""

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        return Choice(max(call.pool, key=lambda i: sum(self.specs[i].quality.values())))


class LeastBusy(Policy):
    """LiteLLM's least-busy: the lowest in-flight count, the first among equals."""

    def __init__(self, specs: Sequence[Spec], rng: random.Random) -> None:
        super().__init__(specs, rng)
        self.in_flight = [0] * len(specs)

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        return Choice(min(call.pool, key=lambda i: self.in_flight[i]))

    def begun(self, call: Call, deployment: int, now_s: float) -> None:
        """See Policy."""
        self.in_flight[deployment] += 1

    def ended(self, end: Ended, now_s: float) -> None:
        """See Policy."""
        self.in_flight[end.deployment] -= 1


class LeastInFlight(LeastBusy):
    """Least-busy as it could be: untried deployments first, and a random choice among equals."""

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        return Choice(min(call.pool, key=lambda i: (i in call.tried, self.in_flight[i], self.rng.random())))


class LatencyBased(Policy):
    """LiteLLM's latency-based-routing."""

    def __init__(self, specs: Sequence[Spec], rng: random.Random) -> None:
        super().__init__(specs, rng)
        self.ttft_s: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=10))
        self.latency_s: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=10))

    def choose(self, call: Call, now_s: float) -> Choice:
        """See Policy."""
        is_stream = call.request.ask.stream
        means = {i: _mean((is_stream and self.ttft_s[i]) or self.latency_s[i]) for i in call.pool}
        lowest = min(means.values())
        return Choice(self.rng.choice([i for i, mean in means.items() if mean == lowest]))

    def ended(self, end: Ended, now_s: float) -> None:
        """See Policy."""
        if end.outcome == "timeout":
            self.latency_s[end.deployment].append(1_000.0)
        elif end.outcome == "success" and end.ttft_s is not None:
            if end.request.ask.stream:
                self.ttft_s[end.deployment].append(end.ttft_s)
            self.latency_s[end.deployment].append(end.e2e_s / end.request.answers[end.deployment])


def _mean(samples: deque[float]) -> float:
    return sum(samples) / len(samples) if samples else 0.0


class Named(NamedTuple):
    """A baseline and its name in the tables."""

    name: str
    make: Callable[[Sequence[Spec], random.Random], Policy]


LATENCY_BASED, LEAST_BUSY = "litellm latency-based", "litellm least-busy"
STOCK = "cheapest (litellm cost-based)", LEAST_BUSY, LATENCY_BASED
BASELINES = (
    Named("random", Random),
    Named("all to largest", Largest),
    Named("least in flight", LeastInFlight),
    Named("cheapest (litellm cost-based)", Cheapest),
    Named(LEAST_BUSY, LeastBusy),
    Named(LATENCY_BASED, LatencyBased),
)
