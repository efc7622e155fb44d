"""Follows a run from answer to answer, for its progress and the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slo_bench.guard.time_left import TimeLeft
from slo_bench.measure.stream import Sample
from slo_bench.run.estimate import CellKey, Request, key_of, wall_s
from slo_bench.run.plan import Cell, Plan
from slo_bench.run.progress import State
from slo_bench.run.runner import Limits

Clock = Callable[[Cell], float]


class Following:
    """What has happened so far. `known` has a typical request of every cell."""

    def __init__(self, plan: Plan, known: Mapping[CellKey, Request], limits: Limits, clock: Clock) -> None:
        self._requests = plan.requests
        self._clock = clock
        self._answered = 0
        self._what = "warm-up"
        self._left = TimeLeft(parallel=limits.parallel)
        self._planned_s: dict[CellKey, float] = {}  # for each request
        for cells in plan.by_deployment():
            total_s = 0.0
            for cell in cells:
                key, requests = key_of(cell), len(cell.prompts)
                seconds = wall_s(known[key].e2e_s, requests, limits)
                self._planned_s[key] = seconds / requests
                total_s += seconds
            is_assumed = any(known[key_of(cell)].basis == "assumed" for cell in cells)
            self._left.expect(cells[0].facts.deployment_id, total_s, is_assumed=is_assumed)

    def answered(self, cell: Cell, sample: Sample) -> None:
        """A request has ended."""
        self._answered += 1
        self._what = f"{cell.facts.deployment_id} · {cell.category}"
        planned_s, now_s = self._planned_s[key_of(cell)], self._clock(cell)
        self._left.answered(cell.facts.deployment_id, planned_s, now_s, sample.e2e_s or 0.0)

    def ended(self, deployment_id: str) -> None:
        """Nothing more is asked of a deployment."""
        self._left.ended(deployment_id)

    def state(self, spent_usd: float | None) -> State:
        """How far the run is now."""
        return State(self._what, self._answered, self._requests, self._left.seconds(), spent_usd)
