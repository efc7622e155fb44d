"""The requests and their instants: a Poisson process with a burst in it, drawn from a seed alone. Pure.

Two runs with the same seed send the same prompts at the same instants, whatever the strategy.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from evaluation.emulator.answers import output_tokens, token_count
from evaluation.face_off.world import (
    GROUP,
    KINDS,
    MIXED_PROMPTS,
    TOO_LONG_TOKENS,
    WHOLE_S,
    Contract,
    Deployment,
    Kind,
    Phase,
)
from evaluation.shared.sample import words
from evaluation.shared.traffic import CHARS_PER_TOKEN, Ask, mixed, prose

STEADY = Ask("chat", stream=True, text_tokens=0, answer_tokens=0, max_tokens=100)


class Arrival(NamedTuple):
    """One request. `at_s` counts from the beginning of the counted time: below 0 the system settles."""

    at_s: float
    kind: Kind
    prompt: str
    ask: Ask = STEADY
    e2e_s: float | None = None  # the time limit of an answer in one piece

    @property
    def counted(self) -> bool:
        """Whether the request counts. A wrong one, or one whose client leaves, cannot keep its contract."""
        return self.at_s >= 0 and self.ask.fault is None and self.ask.leaves_after_s is None

    @property
    def contract(self) -> Contract:
        """What it must get."""
        return self.kind.contract._replace(e2e_s=self.e2e_s)

    @property
    def prompt_tokens(self) -> int:
        """The prompt's size, as the emulated endpoints count it."""
        return token_count(self.prompt) + self.ask.prompt_tokens - self.ask.text_tokens

    def output_tokens(self, deployment: Deployment) -> int:
        """How long a deployment's answer will be."""
        spec, most = deployment.spec, self.ask.max_tokens
        wanted = output_tokens(self.prompt, spec.output_tokens, spec.output_sigma)
        return wanted if most is None else min(wanted, most)


class Plan(NamedTuple):
    """How much is sent: requests per second, and the seconds that count."""

    rate: float
    seconds: float


def arrivals(phase: Phase, plan: Plan, seed: str) -> list[Arrival]:
    """All requests of one phase, in order of time."""
    rng = random.Random(f"face-off:{seed}:{phase.name}:{phase.victim}")
    kinds, shares = list(KINDS), [kind.share for kind in KINDS]
    found = []
    for at_s in _instants(phase, plan, rng):
        kind = rng.choices(kinds, shares)[0]
        if phase.group != GROUP:
            found.append(_mixed(at_s, kind, rng))
            continue
        text = words(rng.randint(*kind.words), seed=rng.getrandbits(32))
        found.append(Arrival(at_s, kind, f"{kind.instruction}\n\n{text}"))
    return found


def _mixed(at_s: float, kind: Kind, rng: random.Random) -> Arrival:
    """A request of any kind. A random number in its prompt gives each request its own answer length."""
    ask = mixed(rng, MIXED_PROMPTS.draw(rng), 0)
    if ask.fault == "too_long":
        ask = ask._replace(text_tokens=TOO_LONG_TOKENS)
    text = f"{kind.instruction}\n\n{rng.getrandbits(32)} {prose(CHARS_PER_TOKEN * ask.text_tokens)}"
    e2e_s = None if ask.stream else math.exp(rng.uniform(*map(math.log, WHOLE_S)))
    return Arrival(at_s, kind, text, ask, e2e_s)


def _instants(phase: Phase, plan: Plan, rng: random.Random) -> Iterator[float]:
    """Lewis and Shedler's thinning: draws at the highest rate and keeps each instant with its rate ÷ the highest."""
    at_s = -phase.settle_s
    while True:
        at_s += rng.expovariate(plan.rate * phase.burst)
        if at_s >= plan.seconds:
            return
        if rng.random() * phase.burst < phase.rate_factor(at_s / plan.seconds):
            yield at_s
