"""The interface of a routing policy: it chooses a deployment, and is told what became of the request."""

# ruff: noqa: ARG002  # every policy has the same signatures
from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from evaluation.simulator.endpoint import Outcome, Spec
from evaluation.simulator.workload import Request


class Call(NamedTuple):
    """A request that needs a deployment. A deployment is known by its position."""

    request: Request
    pool: Sequence[int]  # the deployments that are not cooling down, else all; never empty
    tried: Sequence[int] = ()


class Choice(NamedTuple):
    """A deployment, and what the policy promises for the request, if it promises anything."""

    deployment: int
    probability: float | None = None  # that the time limit will be kept
    ttft_p95_s: float | None = None
    agreed: bool | None = None  # with an observer that hears of every request; `None`: not asked
    agreed_soon: bool | None = None  # or with that observer as of the last two seconds
    misjudged: bool = False  # a deployment was ruled out as too small, though it is by far large enough


class Ended(NamedTuple):
    """One attempt's end. Times are seconds since it was sent; `ttft_s` is `None` if no token came.

    `is_over` says that LiteLLM does not try again.
    """

    request: Request
    deployment: int
    outcome: Outcome
    ttft_s: float | None
    e2e_s: float
    is_over: bool = True


class Probe(NamedTuple):
    """A health check: a request of no client. `ended` is called with the time of its end and its outcome."""

    deployment: int
    ended: Callable[[float, Outcome], None]


class Policy:
    """Places requests. All calls come in order of time. A policy overrides `choose` and what else it needs."""

    def __init__(self, specs: Sequence[Spec], rng: random.Random) -> None:
        self.specs = specs
        self.rng = rng

    def choose(self, call: Call, now_s: float) -> Choice:
        """The deployment to send a request to."""
        raise NotImplementedError

    def begun(self, call: Call, deployment: int, now_s: float) -> None:
        """The request was sent to the deployment."""

    def first_token(self, request: Request, ttft_s: float, now_s: float) -> None:
        """The first token came, `ttft_s` after the attempt was sent."""

    def deadline_s(self, request: Request, now_s: float) -> float | None:
        """In how many seconds the policy wants to look whether the attempt has a first token; `None`: never."""
        return None

    def look(self, request: Request, now_s: float) -> float | None:
        """No first token yet. 0: give the attempt up for another deployment; above 0: look again then; `None`: wait."""
        return None

    def ended(self, end: Ended, now_s: float) -> None:
        """An attempt ended."""

    def tick(self, now_s: float) -> None:
        """A quarter of a second has passed."""

    def probes(self, now_s: float) -> Sequence[Probe]:
        """The health checks to send now."""
        return ()

    def shut(self, now_s: float) -> Collection[int]:
        """The deployments that get no request at all now."""
        return ()
