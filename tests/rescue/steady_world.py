"""One deployment in virtual time, as `Live` and `Rescues` see it: healthy first tokens of any spread, stalls, a hang.

Its times have a median of one second. A second deployment is available, and answers at once.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import NamedTuple

from slo_router.contract.model import LEVELS, Decision, Facts, Slo
from slo_router.contract.settings.group import RescueSettings
from slo_router.decision.filters import ANYTHING
from slo_router.latency.curve import P95, Curve, ttft_s
from slo_router.latency.evidence import Prior
from slo_router.live.live import Live
from slo_router.live.probes import probe_ended
from slo_router.live.state import Flight
from slo_router.rescue.deadline import Deadline
from slo_router.rescue.rescues import Rescues
from tests.shared.builders import NOTHING_KNOWN, NOW_S, REQUEST, assessed, decided

GROUP, ASKED, BESIDE = "smart", "a", "b"
SETTINGS = RescueSettings()
FLAT = tuple(1.0 for _ in LEVELS)
SWIFT = Curve(0.1, 0.0, 0.0, 0.01, 0.0, FLAT, FLAT, weight=50.0)
HEALTH_S = 0.2


class Times(NamedTuple):
    """TTFTs: log-normal, and a share of them `times` as long."""

    sigma: float
    share: float = 0.0
    times: float = 5.0

    def draw(self, rng: random.Random) -> float:
        """One TTFT, in seconds."""
        return math.exp(self.sigma * rng.gauss(0, 1)) * (self.times if rng.random() < self.share else 1.0)

    def measured(self, part: float) -> Prior:
        """A benchmark that measures `part` × these times."""
        mean_s = math.exp(self.sigma**2 / 2) * (1 + self.share * (self.times - 1))
        return Prior(part * mean_s, 0.02, part * math.exp(1.645 * self.sigma), 0.025)


class GivenUp(NamedTuple):
    """A request that was given up: what the deployment had answered by then, and how long the request had waited."""

    answered: int
    waited_s: float
    is_stalled: bool


class World:
    """`rate` requests a second. A share of `stalls` is never answered, and no request from `hangs_s` on."""

    def __init__(
        self,
        times: Times,
        rate: float,
        seed: int,
        *,
        benchmark: float | None = None,
        stalls: float = 0.0,
        hangs_s: float = math.inf,
        slo: Slo = ANYTHING,
    ) -> None:
        self.given_up: list[GivenUp] = []
        self.answered = 0
        self._times, self._rate, self._stalls, self._hangs_s = times, rate, stalls, NOW_S + hangs_s
        self._rng, self._number = random.Random(seed), itertools.count()
        self._live = Live()
        self._live.can_ask = lambda _: True
        self._live.ask_soon = lambda: self._at(self._now_s + HEALTH_S, self._check)
        self._now_s, self._events = NOW_S, list[tuple[float, int, Callable[[], None]]]()
        self._priors = {} if benchmark is None else {ASKED: times.measured(benchmark)}
        self._decision = _decision(None if benchmark is None else self._priors[ASKED].ttft_s, slo)
        self._rescues = Rescues(self._live, lambda: self._live.watch(self._now_s))
        self._live.state(BESIDE).fitted = self._live.state(BESIDE).curve = SWIFT
        self._left, self._refit_s = 0, 0.0

    def run(self, requests: int) -> World:
        """Runs until `requests` came. While the deployment's circuit is open, the other deployment gets them."""
        self._left = requests
        self._at(self._now_s, self._arrive)
        while self._left > 0:
            self._now_s, _, act = heapq.heappop(self._events)
            act()
        return self

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._number), act))

    def _refit(self) -> None:
        """Does what a worker does once a second, with a health check if one is due."""
        if self._now_s - self._refit_s < 1:
            return
        self._refit_s = self._now_s
        for _ in self._live.refit(self._priors, self._now_s):
            pass
        self._live.state(BESIDE).fitted = self._live.state(BESIDE).curve = SWIFT
        if self._live.state(ASKED).circuit.is_open:
            self._live.ask_soon()

    def _check(self) -> None:
        """Makes a health check."""
        if self._now_s < self._hangs_s:
            probe_ended(self._live.states, ASKED, self._now_s - HEALTH_S, self._now_s, "answers")

    def _arrive(self) -> None:
        self._at(self._now_s + self._rng.expovariate(self._rate), self._arrive)
        self._refit()
        self._left -= 1
        if self._live.state(ASKED).circuit.is_open:
            return
        self._rescues.budget.earn(GROUP, 1.0, self._now_s)
        curve = self._live.state(ASKED).curve
        expected_s = None if curve is None else ttft_s(curve, REQUEST.prompt_tokens, 0.0) * curve.ttft_ratios[P95]
        flight = self._live.dispatched(ASKED, self._now_s, expected_s)
        takes_s, is_stalled = self._times.draw(self._rng), self._rng.random() < self._stalls
        is_stalled = is_stalled or self._now_s >= self._hangs_s
        if not is_stalled:
            self._at(self._now_s + takes_s, lambda: self._token(flight, takes_s))
        found = self._rescues.deadline(self._decision, flight, SETTINGS, tried=(ASKED,), stream=True)
        if found is not None:
            self._at(self._now_s + found.due_s, lambda: self._look(flight, found, is_stalled=is_stalled))

    def _token(self, flight: Flight, takes_s: float) -> None:
        if self._live.is_under_way(flight):
            self.answered += 1
            tokens = REQUEST.prompt_tokens
            self._live.first_token(flight, self._now_s, prompt_tokens=tokens, ttft_s=takes_s)
            said = {"prompt_tokens": tokens, "output_tokens": 50, "ttft_s": takes_s, "e2e_s": takes_s + 1}
            self._live.finished(flight, "success", self._now_s, **said)  # type: ignore[arg-type]

    def _look(self, flight: Flight, found: Deadline, *, is_stalled: bool) -> None:
        if not self._live.is_under_way(flight):
            return
        verdict = self._rescues.verdict(
            self._decision, flight, self._now_s, deadline=found, group=GROUP, tried=(ASKED,)
        )
        if verdict.reason == "rescue":
            self.given_up.append(GivenUp(self.answered, self._now_s - flight.at_s, is_stalled))
            self._live.ended(flight, "silent", self._now_s)
            other = self._live.dispatched(BESIDE, self._now_s, 0.1)
            self._rescues.followed(GROUP, other)
            self._at(self._now_s + 0.1, lambda: self._beside(other))
        elif verdict.wait_s is not None:
            self._at(self._now_s + verdict.wait_s, lambda: self._look(flight, found, is_stalled=is_stalled))

    def _beside(self, flight: Flight) -> None:
        self._live.first_token(flight, self._now_s, prompt_tokens=None, ttft_s=0.1)
        self._live.ended(flight, "success", self._now_s)


def _decision(measured_s: float | None, slo: Slo) -> Decision:
    made = decided([Facts(ASKED, "m"), Facts(BESIDE, "m")], slo=slo, features=REQUEST._replace(stream=True))
    known = tuple(assessed(name, NOTHING_KNOWN._replace(ttft_s=measured_s)) for name in (ASKED, BESIDE))
    return made._replace(deployment_id=ASKED, assessments=known)
