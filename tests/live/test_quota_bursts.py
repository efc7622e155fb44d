"""Two workers learn a limit from bursts at each window's beginning. Windows begin earlier than the workers can know.

Requests are in flight, refusals tell whole seconds, and the workers hear of each other five times a second.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from slo_router.live.live import Live
from slo_router.live.picture import Export, hear
from slo_router.live.quota import Room, room
from slo_router.live.state import Flight
from slo_router.worker.tasks.turns import at_once
from tests.shared.builders import NOW_S, told_by

WINDOW_S, LIMIT, AT_ONCE, ASKED = 5.0, 12, 4, 36
WINDOWS, LEARNED_BY = 6, 3


class Bursts:
    """A deployment that takes `LIMIT` requests a window, and two workers that ask in turn, `AT_ONCE` at a time."""

    def __init__(self, seed: int) -> None:
        self.passed, self.refused, self.asked = Counter[int](), Counter[int](), Counter[int]()
        self._rng = random.Random(seed)
        self._workers, self._told = (Live(), Live()), dict[int, Export]()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = self._turn = self._left = self._window = 0
        for own in (0, 1):
            self._later(NOW_S + self._rng.random() / 5, partial(self._share, own))
        self._later(NOW_S, self._burst)
        while self._due and self._due[0][0] < NOW_S + WINDOWS * WINDOW_S:
            now_s, _, act = heapq.heappop(self._due)
            act(now_s)

    def _later(self, at_s: float, act: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, (at_s, self._number, act))

    def _soon(self, now_s: float, least_s: float, most_s: float, act: Callable[[float], None]) -> None:
        self._later(now_s + self._rng.uniform(least_s, most_s), act)

    def _share(self, own: int, now_s: float) -> None:
        self._told[own] = told_by(self._workers[own], now_s)
        if 1 - own in self._told:
            at_once(hear(self._workers[own], [self._told[1 - own]], {}, now_s, own))
        self._soon(now_s, 0.2, 0.25, partial(self._share, own))

    def _burst(self, now_s: float) -> None:
        end_s = NOW_S + (self._window + 1) * WINDOW_S
        if self.asked[self._window] >= ASKED or now_s >= end_s:
            self._window += 1
            self._later(max(end_s, now_s), self._burst)
            return
        self.asked[self._window] += AT_ONCE
        self._left = AT_ONCE
        for _ in range(AT_ONCE):
            self._turn += 1
            self._soon(now_s, 0.0, 0.01, partial(self._pick, self._workers[self._turn % 2]))

    def _pick(self, worker: Live, now_s: float) -> None:
        state = worker.state("a")
        if state.quota is not None and room(state.quota, now_s, 100, state.in_flight) is not Room.ANY:
            self._soon(now_s, 0.03, 0.06, self._done)  # another deployment answers
        else:
            self._soon(now_s, 0.005, 0.025, partial(self._arrives, worker, worker.dispatched("a", now_s)))

    def _arrives(self, worker: Live, flight: Flight, now_s: float) -> None:
        window = int((now_s - NOW_S) // WINDOW_S)
        if self.passed[window] < LIMIT:
            self.passed[window] += 1
            self._soon(now_s, 0.02, 0.04, partial(self._ends, worker, flight, None))
        else:
            self.refused[window] += 1
            wait_s = math.ceil(NOW_S + (window + 1) * WINDOW_S - now_s)
            self._soon(now_s, 0.005, 0.025, partial(self._ends, worker, flight, wait_s))

    def _ends(self, worker: Live, flight: Flight, wait_s: float | None, now_s: float) -> None:
        worker.ended(flight, "success" if wait_s is None else "full", now_s, wait_s)
        self._soon(now_s, 0.0, 0.04, self._done)

    def _done(self, now_s: float) -> None:
        self._left -= 1
        if self._left == 0:
            self._burst(now_s)


@pytest.mark.parametrize("seed", range(40))
def test_a_known_limit_is_kept_and_used_though_nobody_knows_when_its_window_begins(seed: int) -> None:
    """The provider may count the last moments of a worker's window to its own next window."""
    world = Bursts(seed)
    known = range(LEARNED_BY, WINDOWS)
    *usual, most = sorted(world.refused[window] for window in known)
    assert most <= AT_ONCE
    assert all(one <= 1 for one in usual), world.refused
    assert sum(world.passed[window] for window in known) >= LIMIT // 2 * len(known), world.passed
