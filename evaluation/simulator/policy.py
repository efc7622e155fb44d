"""What a routing policy is to the simulator: it chooses, and is told what became of it."""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from evaluation.simulator.endpoint import Outcome, Spec
from evaluation.simulator.workload import Request


class Call(NamedTuple):
    """A request to be placed. Deployments are known by their position."""

    request: Request
    pool: Sequence[int]  # those that LiteLLM does not cool down; never empty
    tried: Sequence[int] = ()


class Choice(NamedTuple):
    """A deployment, and what the policy promises of it where it does."""

    deployment: int
    probability: float | None = None  # that the limit on the time will be kept
    ttft_p95_s: float | None = None
    agreed: bool | None = None  # with what one observer of everything would have chosen
    agreed_soon: bool | None = None  # or would have within the last two seconds
    misjudged: bool = False  # a deployment was ruled out as too small that holds the request by far


class Ended(NamedTuple):
    """One attempt's end. Times are seconds since it was sent; `ttft_s` is `None` where no token came.

    `is_over` says that LiteLLM does not try again.
    """

    request: Request
    deployment: int
    outcome: Outcome
    ttft_s: float | None
    e2e_s: float
    is_over: bool = True


class Probe(NamedTuple):
    """A request of nobody's that asks a deployment whether it answers; `ended` is told when it ended, and how."""

    deployment: int
    ended: Callable[[float, Outcome], None]


class Policy:
    """Places requests. All calls come in order of time; a policy that overrides none but `choose` hears of nothing."""

    def __init__(self, specs: Sequence[Spec], rng: random.Random) -> None:
        self.specs = specs
        self.rng = rng

    def choose(self, call: Call, now_s: float) -> Choice:
        """The deployment to send a request to."""
        raise NotImplementedError

    def begun(self, call: Call, deployment: int, now_s: float) -> None:
        """It was sent."""

    def first_token(self, request: Request, ttft_s: float, now_s: float) -> None:
        """The first token passed, `ttft_s` after it was sent."""

    def deadline_s(self, request: Request, now_s: float) -> float | None:
        """In how many seconds it wants to look whether what was just sent has a first token; `None`: never."""
        return None

    def look(self, request: Request, now_s: float) -> float | None:
        """It has none: 0 gives it up for another deployment, more looks again after so long, `None` lets it be."""
        return None

    def ended(self, end: Ended, now_s: float) -> None:
        """It came to an end."""

    def tick(self, now_s: float) -> None:
        """A quarter of a second has passed."""

    def probes(self, now_s: float) -> Sequence[Probe]:
        """What to ask now."""
        return ()

    def shut(self, now_s: float) -> Collection[int]:
        """The deployments that get no request now, whatever it is."""
        return ()
