"""The plan's numbers: the time of a closed loop, what is known of a request, and how much time is left."""

from __future__ import annotations

import pytest

from slo_bench.load.arrivals import Arrival
from slo_bench.load.plan import Limits, Selection, make_plan
from slo_bench.measure.stream import Sample
from slo_bench.prompts.workload import Prompt, Workload
from slo_bench.run.estimate import Request, assumed, estimate, from_metrics, from_result, key_of, rounds, wall_s
from slo_bench.run.progress import TimeLeft
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize
from slo_router.contract.model import Facts, Metrics
from slo_router.contract.settings.deployments import ManagedDeployment

WORKLOAD = Workload(tuple(Prompt(name, ({"role": "user", "content": "x" * 400},), 100) for name in ("ner", "chat")))
FLEET = [
    ManagedDeployment("g", Facts("paid", "openai/a", input_usd_per_token=1e-6, output_usd_per_token=2e-6), "http://a"),
    ManagedDeployment("g", Facts("gpu", "openai/b", gpu_usd_per_hour=3.6), "http://b"),
    ManagedDeployment("g", Facts("free", "openai/c"), "http://c"),
]
PLAN = make_plan(FLEET, WORKLOAD, Selection(requests=10), None)
CELL = PLAN.cells[0]
LIMITS = Limits(concurrency=4, warmup=1)


@pytest.mark.parametrize(
    ("requests", "concurrency", "expected"),
    [(10, 1, 10.0), (8, 4, 2.375), (10, 4, 2.875), (1, 4, 1.0), (2, 4, 1.25), (0, 4, 0.0)],
)
def test_a_closed_loop_takes_so_many_durations(requests: int, concurrency: int, expected: float) -> None:
    assert rounds(requests, concurrency) == pytest.approx(expected)


def test_arrivals_take_until_the_last_one_is_answered() -> None:
    limits = Limits(arrivals=tuple(Arrival(float(second)) for second in range(10)))
    assert wall_s(0.5, 10, limits) == 9.5
    assert wall_s(0.5, 3, limits) == 2.5


def test_a_request_of_which_nothing_is_known_is_assumed() -> None:
    assert assumed(CELL) == Request(1.5, 100.0, 50.0, "assumed")  # 0.5 s + 50 × 20 ms; 400 bytes


def test_metrics_tell_a_request_where_they_say_enough() -> None:
    metrics = Metrics(0.0, ttft_s=0.2, tpot_s=0.01, output_tokens_mean=31.0)
    request = Request(pytest.approx(0.5), 100.0, 31.0, "metrics")  # type: ignore[arg-type]
    assert from_metrics(CELL, metrics) == request
    assert from_metrics(CELL, metrics._replace(output_tokens_mean=131.0, hidden_tokens_mean=100.0)) == request._replace(
        completion_tokens=131.0
    )
    assert from_metrics(CELL, Metrics(0.0, ttft_s=0.2)) is None


@pytest.mark.parametrize("limits", [LIMITS, Limits(arrivals=tuple(Arrival(float(second)) for second in range(10)))])
def test_a_cell_that_was_measured_is_expected_to_take_as_long_again(limits: Limits) -> None:
    result = CellResult(CELL, summarize([Sample(0.1, 0.5, 90, 30)] * 10, 11.5), 0.0)
    request = from_result(result, limits)
    assert request is not None
    assert wall_s(request.e2e_s, 10, limits) == pytest.approx(11.5)
    assert request[1:] == (90.0, 30.0, "earlier run")
    assert from_result(CellResult(CELL, summarize([Sample(0.1, 0.5)], 1.0), 0.0), limits) is None


def test_the_total_has_warm_up_tokens_time_and_the_prices_that_are_known() -> None:
    known = {key_of(cell): Request(2.0, 100.0, 50.0, "earlier run") for cell in PLAN.cells}
    found = estimate(PLAN.by_deployment(), known, LIMITS)
    paid, gpu, free = found.rows
    assert paid.expected.requests == 21
    assert paid.expected.tokens == 21 * 150
    assert paid.expected.seconds == pytest.approx(2.0 + 2 * 2.0 * 2.875)
    assert paid.expected.usd == pytest.approx(21 * (100e-6 + 100e-6))
    assert gpu.expected.usd == pytest.approx(0.001 * gpu.expected.seconds)
    assert free.expected.usd is None
    assert found.total.seconds == pytest.approx(3 * 13.5)
    assert found.total.usd == pytest.approx(0.0042 + 0.0135)
    assert estimate(PLAN.by_deployment(), known, Limits(4, 1, parallel=True)).total.seconds == pytest.approx(13.5)


def test_the_time_left_follows_the_pace_of_each_deployment() -> None:
    left = TimeLeft(parallel=False)
    left.expect("a", 10.0, is_assumed=False)
    left.expect("b", 10.0, is_assumed=False)
    left.expect("c", 10.0, is_assumed=True)
    assert left.seconds() == 30.0
    for number in range(1, 6):  # twice as slow as planned
        left.answered("a", 1.0, at_s=100.0 + 2 * number, took_s=2.0)
    assert left.seconds() == pytest.approx(5 * 2 + 10 * 2 + 10)  # b was known as a was, c only assumed
    left.ended("a")
    assert left.seconds() == pytest.approx(30.0)
    both = TimeLeft(parallel=True)
    both.expect("a", 10.0, is_assumed=False)
    both.expect("b", 7.0, is_assumed=False)
    assert both.seconds() == 10.0
