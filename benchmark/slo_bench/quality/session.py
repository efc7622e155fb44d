"""One quality run from the first connection to the last write: kept answers, client, guard, progress and Redis.

Redis must answer before the first request: scores that cannot be stored would be paid for nothing.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic, time

from rich.console import Console

from slo_bench.gate.ruling import GatePolicy
from slo_bench.guard.budget import Budget
from slo_bench.guard.guard import Terms, open_guard
from slo_bench.measure import event_loop
from slo_bench.measure.client import Client
from slo_bench.quality.answers import open_store
from slo_bench.quality.asking import Asker, guarded, unsalted
from slo_bench.quality.gating import Gating
from slo_bench.quality.grade import Tools
from slo_bench.quality.plan import QualityPlan
from slo_bench.quality.runner import Found, Listeners, run_suite
from slo_bench.run.progress import State, shown
from slo_bench.store import Store, linked
from slo_router.contract.redis.link import AsyncClient


@dataclass(frozen=True, slots=True)
class QualityTerms:
    """The limits of a run. `concurrency` is per deployment. `answers` is the file of kept answers, `None` for none."""

    answers: Path | None
    max_age_s: float = 20 * 3_600.0
    concurrency: int = 4
    timeout_s: float = 120.0
    total_s: float = 30 * 60.0
    budget_usd: float | None = None
    policy: GatePolicy = field(default_factory=GatePolicy)


def run(plan: QualityPlan, terms: QualityTerms, store: Store | None, console: Console) -> Found:
    """Asks, grades and writes to `store`, if any; progress goes to `console`.

    SIGTERM ends it as Ctrl-C does: locks are released. Raises BenchError where Redis does not answer at the start,
    AnswerStoreError where the file of kept answers can't be opened.
    """
    return event_loop.run(_run(plan, terms, store, console))


async def _run(plan: QualityPlan, terms: QualityTerms, store: Store | None, console: Console) -> Found:
    if store is None:
        return await _ask(plan, terms, console, None, "")
    began_s, prefix = monotonic(), store.key_prefix
    async with linked(store) as link:
        found = await _ask(plan, terms, console, link, prefix)

        async def again(narrow: QualityPlan, used: Found) -> Found:
            total_s = max(began_s + terms.total_s - monotonic(), 0.0)
            usd = None if terms.budget_usd is None else max(terms.budget_usd - used.spent_usd, 0.0)
            return await _ask(
                narrow, replace(terms, max_age_s=0.0, total_s=total_s, budget_usd=usd), console, link, prefix
            )

        gating = Gating(link, prefix, terms.policy, again)
        return await gating.settle(plan, found, partial(console.print, soft_wrap=True))


async def _ask(
    plan: QualityPlan, terms: QualityTerms, console: Console, link: AsyncClient | None, prefix: str
) -> Found:
    began_s, now_s, done = monotonic(), time(), 0
    budget, tell = Budget(terms.budget_usd, terms.timeout_s), partial(console.print, soft_wrap=True)

    def count() -> None:
        nonlocal done
        done += 1

    with open_store(terms.answers, now_s) as answers:
        async with (
            Client(terms.timeout_s) as client,
            open_guard(
                unsalted(client), budget, Terms(), endpoints=plan.endpoints, link=link, prefix=prefix, tell=tell
            ) as guard,
        ):
            not_before_s = now_s - terms.max_age_s
            asker = Asker(guarded(guard), answers, concurrency=terms.concurrency, not_before_s=not_before_s)

            def state() -> State:
                gone_s = monotonic() - began_s
                pace_s = gone_s * (plan.questions - done) / asker.asked if asker.asked else terms.total_s
                left_s = min(pace_s, terms.total_s - gone_s)
                return State("quality", done, plan.questions, left_s, None if budget.uncounted else budget.spent_usd)

            async with shown(console, state):
                tools = Tools(asker, plan.judge, asyncio.Semaphore(os.cpu_count() or 1))
                found = await run_suite(plan, tools, guard, terms.total_s, Listeners(count, tell))
        if answers.fault is not None:
            tell(f"{terms.answers}: answers could not be kept: {answers.fault}")
        return found
