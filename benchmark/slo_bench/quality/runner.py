"""Runs a quality plan on all deployments at once, with a limit on requests in flight, on time and on cost.

Deployments are asked in parallel, for their speed is not measured here. When the time is up, requests in flight are
cancelled. When the budget is used up, nothing more is sent. Answers are kept, and the next run continues from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from slo_bench.errors import StoppedError
from slo_bench.gate.alerts import Alert
from slo_bench.gate.gatekeeper import REGRESSED
from slo_bench.guard.guard import Guard
from slo_bench.quality.answers import Failure
from slo_bench.quality.asking import Respondent
from slo_bench.quality.grade import Tools, grade
from slo_bench.quality.plan import QualityPlan
from slo_bench.quality.scores import CellScores, Grade, with_grades
from slo_bench.quality.suite import Item
from slo_bench.summary.results import ALL_MEASURED, NOTHING_MEASURED, SOME_FAILED


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks of a run: `graded` after each grade, `tell` with what the guard waits for."""

    graded: Callable[[], None]
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A run's results, in the plan's order. `stopped` tells what ended it early."""

    cells: tuple[CellScores, ...]
    stopped: str | None
    spent_usd: float
    sent: int  # requests
    kept: int  # answers taken from the store
    uncounted: frozenset[str] = frozenset()  # deployments without a price
    alerts: tuple[Alert, ...] = ()  # the regression gate's
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by deployment, how requests were changed

    def plus(self, more: Found) -> Found:
        """The same cells, with the cost and requests of `more` added."""
        usd, sent, kept = self.spent_usd + more.spent_usd, self.sent + more.sent, self.kept + more.kept
        return replace(self, stopped=more.stopped, spent_usd=usd, sent=sent, kept=kept)


async def run_suite(plan: QualityPlan, tools: Tools, guard: Guard, total_s: float, following: Listeners) -> Found:
    """Asks every respondent every item, and grades the answers."""
    grades: dict[tuple[str, str], list[Grade]] = {}
    stopped: str | None = None

    async def one(who: Respondent, item: Item) -> None:
        nonlocal stopped
        try:
            found = await _ask_and_grade(who, item, tools)
        except StoppedError as error:  # requests in flight may end, for they are paid for
            stopped = str(error)
            return
        grades.setdefault((who.facts.deployment_id, item.category), []).append(found)
        following.graded()

    async def all_of(who: Respondent) -> None:
        nonlocal stopped
        try:
            async with guard.deployment(who.facts, following.tell), asyncio.TaskGroup() as group:
                for item in plan.items:
                    group.create_task(one(who, item))
        except StoppedError as error:  # the deployment can't be held
            stopped = str(error)

    try:
        async with asyncio.timeout(total_s), _judging(plan, guard, following), asyncio.TaskGroup() as group:
            for who in plan.respondents:
                group.create_task(all_of(who))
    except TimeoutError:
        stopped = "the time was up"
    cells = [with_grades(cell, grades.get((cell.deployment_id, cell.category), ())) for cell in plan.cells]
    budget, asker = guard.budget, tools.asker
    uncounted = frozenset(budget.uncounted)
    return Found(tuple(cells), stopped, budget.spent_usd, asker.asked, asker.kept, uncounted, notes=guard.notes)


@asynccontextmanager
async def _judging(plan: QualityPlan, guard: Guard, following: Listeners) -> AsyncIterator[None]:
    """Holds the judge, if there is one."""
    if plan.judge is None:
        yield
        return
    async with guard.deployment(plan.judge.facts, following.tell):
        yield


async def _ask_and_grade(who: Respondent, item: Item, tools: Tools) -> Grade:
    said = await tools.asker.ask(who, item.question())
    if isinstance(said, Failure):
        return Grade(item.id, None, said.error, excuse=None if said.excuse is None else str(said.excuse))
    return await grade(item, said, tools)


def exit_code(plan: QualityPlan, found: Found) -> int:
    """3: a deployment regressed. 0: every cell was graded and written. 2: none was graded. 1: anything in between."""
    if found.alerts:
        return REGRESSED
    if not any(cell.publishable for cell in found.cells):
        return NOTHING_MEASURED
    good = all(cell.publishable and cell.published is not False and not cell.unfinished for cell in found.cells)
    return ALL_MEASURED if good and not plan.skipped else SOME_FAILED
