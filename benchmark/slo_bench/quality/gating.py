"""Puts a run through the regression gate, deployment by deployment, and publishes each score with its mark.

If a run may be worse than its baseline, its items are asked again within the remaining time and budget. Its scores then
rest on all answers. A cell that is not publishable is not judged, for errors are not wrong answers.

A cell's quality is written in one transaction, without changing the rest of the hash. `quality_timestamp` (Unix
seconds) is the time of its oldest answer, for answers may be kept from an earlier run. Readers drop a hash without a
`timestamp`, so a new hash gets the same time. A regressed run sets `quality_held`, and a good run clears it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from slo_bench.gate.entry import QUALITY, Entry
from slo_bench.gate.gatekeeper import conclude, review
from slo_bench.gate.ruling import GatePolicy
from slo_bench.quality.plan import QualityPlan
from slo_bench.quality.runner import Found
from slo_bench.quality.scores import CellScores
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import QUALITY_HELD, SCHEMA_VERSION
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, error_kind


async def publish_quality(redis: AsyncClient, prefix: str, cell: CellScores) -> None:
    """Writes a publishable cell. Raises redis.RedisError where it was not written."""
    key = metrics_key(prefix, cell.deployment_id, cell.category)
    answered_at = f"{cell.answered_at_s:.3f}"
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(key, "quality_score", f"{cell.mean:.9g}")
        pipe.hset(key, "quality_n", str(cell.n))
        pipe.hset(key, "quality_timestamp", answered_at)
        if cell.verdict == "regressed":
            pipe.hset(key, QUALITY_HELD, "1")
        elif cell.verdict in {"good", "better"}:
            pipe.hdel(key, QUALITY_HELD)
        pipe.hsetnx(key, "schema", str(SCHEMA_VERSION))
        pipe.hsetnx(key, "timestamp", answered_at)
        await pipe.execute()


AskAgain = Callable[[QualityPlan, Found], Awaitable[Found]]  # what to ask again, what was used so far → new answers


class Gating:
    """The gating of one run. Results go to `link` under `prefix`."""

    def __init__(self, link: AsyncClient, prefix: str, policy: GatePolicy, ask: AskAgain) -> None:
        self._link, self._prefix, self._policy, self._ask = link, prefix, policy, ask

    async def settle(self, plan: QualityPlan, found: Found, tell: Callable[[str], None]) -> Found:
        """Judges the run and writes it to Redis. Returns it with all answers, verdicts and alerts.

        Calls `tell` if Redis failed.
        """
        for deployment_id in dict.fromkeys(cell.deployment_id for cell in found.cells):
            try:
                found = await self._pass(plan, found, deployment_id)
            except LINK_ERRORS as error:
                tell(f"Redis did not take a result: {error_kind(error)}")
        unwritten = (cell if cell.published else replace(cell, published=False) for cell in found.cells)
        return replace(found, cells=tuple(unwritten))

    async def _pass(self, plan: QualityPlan, found: Found, deployment_id: str) -> Found:
        cells = {
            cell.category: cell for cell in found.cells if cell.deployment_id == deployment_id and cell.publishable
        }
        used = found

        async def again(categories: Sequence[str]) -> list[Entry]:
            nonlocal used
            if used.stopped is not None:
                return []
            more = await self._ask(narrowed(plan, deployment_id, categories), used)
            used = used.plus(more)
            return [entry_of(cell) for cell in more.cells if cell.publishable]

        run = [entry_of(cell) for cell in cells.values()]
        judged = await review(self._link, self._prefix, run, self._policy, again)
        for entry in judged.entries:
            cell = replace(cells[entry.category], scores=entry.scores, verdict=entry.verdict, published=True)
            await publish_quality(self._link, self._prefix, cell)
            cells[entry.category] = cell
        await conclude(self._link, self._prefix, judged)
        settled = (cells.get(c.category, c) if c.deployment_id == deployment_id else c for c in found.cells)
        return replace(used, cells=tuple(settled), alerts=(*found.alerts, *judged.alerts))


def narrowed(plan: QualityPlan, deployment_id: str, categories: Sequence[str]) -> QualityPlan:
    """The plan for one deployment in some categories."""
    return replace(
        plan,
        respondents=tuple(who for who in plan.respondents if who.facts.deployment_id == deployment_id),
        items=tuple(item for item in plan.items if item.category in categories),
        cells=tuple(c for c in plan.cells if c.deployment_id == deployment_id and c.category in categories),
    )


def entry_of(cell: CellScores) -> Entry:
    """A publishable cell as the history keeps it."""
    return Entry(
        kind="quality",
        at_s=cell.answered_at_s or 0.0,
        deployment=cell.deployment_id,
        model=cell.model,
        category=cell.category,
        n=cell.n,
        figures={QUALITY: cell.mean or 0.0},
        fingerprint=cell.fingerprint,
        agent_version=version("litellm-slo-router"),
        scores=cell.scores,
    )
