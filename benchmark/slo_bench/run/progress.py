"""Shows the progress of a run: a bar on a terminal, elsewhere a line every half minute.

The remaining time comes from the plan and the measured pace. Each deployment has its own pace: the time from its first
request to its last answer ÷ the planned time of these answers. A deployment with too few answers gets the mean pace of
the others with the same basis in the plan: assumed or known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from slo_bench.guard.beside import beside
from slo_bench.load.plan import Cell, Limits, Plan
from slo_bench.measure.stream import Sample
from slo_bench.run.estimate import CellKey, Request, key_of, wall_s

LINE_S = 30.0
REDRAW_S = 1.0


class State(NamedTuple):
    """How far a run is. `spent_usd` is `None` where no price is known."""

    what: str  # deployment and category
    answered: int
    requests: int
    left_s: float
    spent_usd: float | None


@asynccontextmanager
async def shown(console: Console, state: Callable[[], State], line_s: float = LINE_S) -> AsyncIterator[None]:
    """Shows `state` while the block runs. Other output to `console` appears above the bar."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[left]}"), console=console) as progress:
            task = progress.add_task("", left="")
            async with beside(_redraw(progress, task, state)):
                yield
            _update(progress, task, state())
    else:
        async with beside(_write(console, state, line_s)):
            yield


def line(state: State, elapsed_s: float) -> str:
    """One line for a log."""
    spent = "" if state.spent_usd is None else f", {state.spent_usd:.4f} USD spent"
    return (
        f"{state.answered} of {state.requests} requests, {minutes(elapsed_s)} gone, about {minutes(state.left_s)} "
        f"left{spent}: {state.what}"
    )


def minutes(seconds: float) -> str:
    """A duration for people: `90 s`, `5 min`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole / 60:.0f} min"


async def _redraw(progress: Progress, task: TaskID, state: Callable[[], State]) -> None:
    while True:
        _update(progress, task, state())
        await asyncio.sleep(REDRAW_S)


def _update(progress: Progress, task: TaskID, now: State) -> None:
    left = f"{minutes(now.left_s)} left"
    progress.update(task, description=now.what, completed=now.answered, total=now.requests, left=left)


async def _write(console: Console, state: Callable[[], State], line_s: float) -> None:
    began_s = monotonic()
    while True:
        await asyncio.sleep(line_s)
        console.print(line(state(), monotonic() - began_s))


FEWEST_ANSWERS = 3  # needed for a pace


@dataclass(slots=True)
class _Course:
    """One deployment: planned seconds done and left, and when it was first asked and last answered."""

    is_assumed: bool
    left_s: float
    done_s: float = 0.0
    answers: int = 0
    first_s: float = 0.0
    last_s: float = 0.0

    @property
    def pace(self) -> float | None:
        """Measured ÷ planned time; `None` with too few answers."""
        return (self.last_s - self.first_s) / self.done_s if self.answers >= FEWEST_ANSWERS and self.done_s else None


class TimeLeft:
    """The remaining time of one run. With `parallel` the slowest deployment decides."""

    def __init__(self, *, parallel: bool) -> None:
        self._parallel = parallel
        self._courses: dict[str, _Course] = {}

    def expect(self, deployment_id: str, seconds: float, *, is_assumed: bool) -> None:
        """Sets the planned seconds of a deployment's cells."""
        self._courses[deployment_id] = _Course(is_assumed, seconds)

    def answered(self, deployment_id: str, planned_s: float, at_s: float, took_s: float) -> None:
        """Notes an answer at `at_s` by the deployment's clock. It took `took_s`, and was planned at `planned_s`."""
        course = self._courses[deployment_id]
        course.left_s = max(course.left_s - planned_s, 0.0)
        course.last_s = at_s
        course.answers += 1
        course.done_s += planned_s
        if course.answers == 1:
            course.first_s = at_s - took_s

    def ended(self, deployment_id: str) -> None:
        """Notes that a deployment gets no more requests."""
        if deployment_id in self._courses:
            self._courses[deployment_id].left_s = 0.0

    def seconds(self) -> float:
        """The estimated seconds from now to the end."""
        left = [course.left_s * self._pace(course) for course in self._courses.values()]
        return max(left, default=0.0) if self._parallel else sum(left)

    def _pace(self, course: _Course) -> float:
        own = course.pace
        if own is not None:
            return own
        alike = _known(other.pace for other in self._courses.values() if other.is_assumed == course.is_assumed)
        return sum(alike) / len(alike) if alike else 1.0


def _known(paces: Iterable[float | None]) -> list[float]:
    return [pace for pace in paces if pace is not None]


Clock = Callable[[Cell], float]


class Following:
    """The progress of a run. `known` has a typical request of every cell."""

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
        """Notes a finished request."""
        self._answered += 1
        self._what = f"{cell.facts.deployment_id} · {cell.category}"
        planned_s, now_s = self._planned_s[key_of(cell)], self._clock(cell)
        self._left.answered(cell.facts.deployment_id, planned_s, now_s, sample.e2e_s or 0.0)

    def ended(self, deployment_id: str) -> None:
        """Notes that a deployment gets no more requests."""
        self._left.ended(deployment_id)

    def state(self, spent_usd: float | None) -> State:
        """How far the run is now."""
        return State(self._what, self._answered, self._requests, self._left.seconds(), spent_usd)
