"""Who asks for what and when: a Poisson process with a burst in it, drawn from a seed alone. Pure.

Two runs with the same seed send the same prompts at the same instants, whoever routes them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from evaluation.endpoints.answers import output_tokens, token_count
from evaluation.face_off.world import KINDS, OUTPUT_TOKENS, Contract, Kind, Phase
from evaluation.sample import words


class Arrival(NamedTuple):
    """One request. `at_s` counts from the beginning of what is counted: below 0 the system settles."""

    at_s: float
    kind: Kind
    prompt: str

    @property
    def counted(self) -> bool:
        """Whether it belongs to the phase."""
        return self.at_s >= 0

    @property
    def contract(self) -> Contract:
        """What it must get."""
        return self.kind.contract

    @property
    def prompt_tokens(self) -> int:
        """As the emulated endpoints count."""
        return token_count(self.prompt)

    @property
    def output_tokens(self) -> int:
        """How long every endpoint's answer will be."""
        return output_tokens(self.prompt, OUTPUT_TOKENS)


class Plan(NamedTuple):
    """How much is sent: requests per second, and seconds that count."""

    rate: float
    seconds: float


def arrivals(phase: Phase, plan: Plan, seed: str) -> list[Arrival]:
    """All requests of one phase, in time."""
    rng = random.Random(f"face-off:{seed}:{phase.name}:{phase.victim}")
    kinds, shares = list(KINDS), [kind.share for kind in KINDS]
    found = []
    for at_s in _instants(phase, plan, rng):
        kind = rng.choices(kinds, shares)[0]
        text = words(rng.randint(*kind.words), seed=rng.getrandbits(32))
        found.append(Arrival(at_s, kind, f"{kind.instruction}\n\n{text}"))
    return found


def _instants(phase: Phase, plan: Plan, rng: random.Random) -> Iterator[float]:
    """Lewis and Shedler's thinning: candidates at the highest rate, each kept with the share that its instant has."""
    at_s = -phase.settle_s
    while True:
        at_s += rng.expovariate(plan.rate * phase.burst)
        if at_s >= plan.seconds:
            return
        if rng.random() * phase.burst < phase.rate_factor(at_s / plan.seconds):
            yield at_s
