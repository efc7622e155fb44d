"""A run: concurrency that is bounded and used, a warm-up that does not count, a time limit that stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from evaluation.shared import virtual_time
from slo_bench.load.plan import Limits, Plan, Selection, make_plan
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt, Workload
from slo_bench.run.runner import run_plan
from slo_bench.summary.results import CellResult
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment

WORKLOAD = Workload(
    tuple(Prompt(category, ({"role": "user", "content": "Hi"},), 8) for category in ("ner", "chat") for _ in range(3))
)
ANSWERED = Sample(0.1, 0.2, 10, 5)


def plan(*names: str, requests: int = 6) -> Plan:
    fleet = [ManagedDeployment("smart", Facts(name, f"openai/{name}"), "http://gpu/v1") for name in names]
    return make_plan(fleet, WORKLOAD, Selection(requests), None)


class Endpoint:
    """Answers every request after a pause, and remembers the requests in flight."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.calls: list[tuple[str, str]] = []
        self.in_flight: dict[str, int] = {}
        self.most_in_flight = 0
        self.together: set[frozenset[str]] = set()

    async def measure(self, target: Target, prompt: Prompt) -> Sample:
        name = target.deployment_id
        self.calls.append((name, prompt.category))
        self.in_flight[name] = self.in_flight.get(name, 0) + 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[name])
        self.together.add(frozenset(key for key, count in self.in_flight.items() if count))
        try:
            await asyncio.sleep(self.pause_s)
        finally:
            self.in_flight[name] -= 1
        return ANSWERED


async def keep(result: CellResult) -> CellResult:
    return result


async def run(
    planned: Plan, endpoint: Endpoint, limits: Limits, on_cell: Callable[[CellResult], Awaitable[CellResult]] = keep
) -> tuple[list[CellResult], int]:
    seen: list[Sample] = []
    results = await run_plan(
        planned, endpoint.measure, limits, on_sample=lambda _, sample: seen.append(sample), on_cell=on_cell
    )
    return results, len(seen)


async def test_every_cell_is_measured_with_its_number_of_requests() -> None:
    results, seen = await run(plan("a", "b"), Endpoint(), Limits())
    cells = [(r.cell.facts.deployment_id, r.cell.category, r.stats.requests, r.complete) for r in results]
    assert cells == [("a", "ner", 6, True), ("a", "chat", 6, True), ("b", "ner", 6, True), ("b", "chat", 6, True)]
    assert seen == 24


@pytest.mark.parametrize("warmup", [0, 1, 5])
async def test_warm_up_is_sent_once_per_deployment_and_counts_nowhere(warmup: int) -> None:
    endpoint = Endpoint()
    results, seen = await run(plan("a", "b"), endpoint, Limits(warmup=warmup))
    assert len(endpoint.calls) == 24 + 2 * warmup
    assert seen == sum(r.stats.requests for r in results) == 24


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_the_concurrency_is_reached_and_never_passed(concurrency: int) -> None:
    endpoint = Endpoint(0.001)
    await run(plan("a"), endpoint, Limits(concurrency))
    assert endpoint.most_in_flight == concurrency


@pytest.mark.parametrize("parallel", [False, True])
async def test_deployments_are_apart_unless_parallel_is_asked_for(parallel: bool) -> None:
    endpoint = Endpoint(0.001)
    results, _ = await run(plan("a", "b"), endpoint, Limits(parallel=parallel))
    assert (frozenset("ab") in endpoint.together) is parallel
    assert [r.cell.facts.deployment_id for r in results] == ["a", "a", "b", "b"]


async def test_categories_of_a_deployment_are_never_mixed() -> None:
    endpoint = Endpoint(0.001)
    await run(plan("a"), endpoint, Limits(warmup=0))
    assert endpoint.calls == [("a", "ner")] * 6 + [("a", "chat")] * 6


def test_the_time_limit_cancels_what_is_in_flight_and_keeps_what_was_answered() -> None:
    endpoint = Endpoint(0.1)
    # 2 at a time, 0.1 s each: by 0.25 s two rounds are answered, the third is in flight
    limits = Limits(concurrency=2, warmup=0, total_s=0.25)
    results, _ = virtual_time.run(lambda _: run(plan("a", "b"), endpoint, limits))
    assert [(r.stats.requests, r.complete) for r in results] == [(4, False)]
    assert endpoint.in_flight["a"] == 0


def test_the_time_limit_holds_during_warm_up() -> None:
    results, seen = virtual_time.run(lambda _: run(plan("a"), Endpoint(60), Limits(total_s=0.05)))
    assert (results, seen) == ([], 0)


async def test_a_cell_is_handed_on_as_soon_as_it_is_measured() -> None:
    endpoint = Endpoint()
    calls_before: list[int] = []

    async def publish(result: CellResult) -> CellResult:
        calls_before.append(len(endpoint.calls))
        return result

    await run(plan("a"), endpoint, Limits(warmup=0), publish)
    assert calls_before == [6, 12]
