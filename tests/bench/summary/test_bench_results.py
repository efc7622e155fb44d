"""Results as an exit code and as remarks: all that was planned but not measured, not whole or not written is told."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from slo_bench.load.plan import Cell, Plan, Skipped
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt
from slo_bench.show.full_tables import break_even_table, latency_table, rate_table, size_table
from slo_bench.show.result_tables import remarks, result_document, result_table
from slo_bench.summary.results import CellResult, exit_code
from slo_bench.summary.rivals import rivals
from slo_bench.summary.stats import summarize
from slo_router.contract.model import Facts, Slo

PROMPT = Prompt("ner", ({"role": "user", "content": "Hi"},), 8)


def cell(name: str) -> Cell:
    return Cell(Facts(name, f"openai/{name}"), Target(name, name, "http://gpu/v1"), "ner", (PROMPT,) * 4)


PLAN = Plan((cell("a"), cell("b")), ())
A, B = (CellResult(c, summarize([Sample(0.1, 0.2)], 1.0), 0.0, published=True) for c in PLAN.cells)
FAILED = replace(B, stats=summarize([Sample(error="timeout")], 1.0))
SKIPPED = replace(PLAN, skipped=(Skipped("c", "no api_base"),))


@pytest.mark.parametrize(
    ("plan", "results", "code"),
    [
        (PLAN, [A, B], 0),
        (PLAN, [replace(A, published=None), B], 0),  # nothing was to be written
        (PLAN, [A], 1),  # the time was up before b
        (PLAN, [A, FAILED], 1),
        (PLAN, [A, replace(B, complete=False)], 1),
        (PLAN, [A, replace(B, published=False)], 1),
        (SKIPPED, [A, B], 1),
        (PLAN, [FAILED], 2),
        (PLAN, [], 2),
        (Plan((), SKIPPED.skipped), [], 2),
    ],
)
def test_the_exit_code_tells_all_some_or_nothing(plan: Plan, results: list[CellResult], code: int) -> None:
    assert exit_code(plan, results) == code


@pytest.mark.parametrize(
    ("plan", "results", "remark"),
    [
        (PLAN, [A], "b ner: not measured: the time was up"),
        (PLAN, [A, replace(B, complete=False)], "b ner: after 1 of 4 requests the time was up"),
        (PLAN, [A, FAILED], "b ner: not measured: no request was answered; earlier latencies are kept"),
        (PLAN, [A, replace(B, published=False)], "b ner: not written: Redis did not take it"),
        (SKIPPED, [A, B], "c: not measured: no api_base"),
    ],
)
def test_everything_that_is_missing_is_remarked_on(plan: Plan, results: list[CellResult], remark: str) -> None:
    assert remarks(plan, results) == [remark]


def test_a_failed_cell_is_null_in_json_and_never_zero() -> None:
    document = result_document(PLAN, [FAILED])["results"][0]  # type: ignore[index]
    counted = {"requests": 1, "errors": {"timeout": 1}, "error_rate": 1.0, "requests_per_s": 0.0}
    assert {name: document[name] for name in counted} == counted
    unmeasured = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "prompt_tokens", "throughput_tps", "slo", "cost_per_1k")
    assert [document[name] for name in unmeasured] == [None] * len(unmeasured)


def test_json_has_every_latency_with_its_number_of_values_and_its_intervals() -> None:
    samples = [Sample(0.001 * i, 0.01 * i, 10, 5, itl_s=(0.002,)) for i in range(1, 41)]
    slo = Slo(ttft_s=0.030)
    stats = summarize(samples, 2.0, slo)
    result = CellResult(replace(cell("a"), slo=slo), stats, 0.0)
    document = result_document(PLAN, [result])["results"][0]  # type: ignore[index]
    assert document["ttft_ms"] == {
        "mean": 20.5,
        "p50": 20.5,
        "p90": 36.1,
        "p95": 38.05,
        "p99": 39.61,
        "n": 40,  # rank 0.99 × 39 = 38.61
        "ci95": {
            "mean": [pytest.approx(16.76, abs=0.01), pytest.approx(24.24, abs=0.01)],
            "p50": [14, 27],
            "p90": [32, 40],
        },
        "too_few_for": ["p99"],
    }
    assert document["slo"]["attainment"] == 0.75
    assert (document["slo"]["limits"], document["slo"]["goodput_rps"]) == ({"ttft_ms": 30.0}, 15.0)


def test_no_answer_stands_in_a_table_or_in_json() -> None:
    result = CellResult(cell("a"), summarize([Sample(0.1, 0.2, answer="a secret")], 1.0), 0.0)
    shown = Console(file=StringIO(), width=200)
    for table in (result_table([result]), latency_table([result]), rate_table([result]), size_table([result])):
        shown.print(table)
    assert "secret" not in f"{result!r} {result_document(PLAN, [result])} {shown.file.getvalue()}"  # type: ignore[attr-defined]


def test_a_percentile_of_too_few_values_is_starred_in_the_table() -> None:
    shown = Console(file=StringIO(), width=200)
    for count in (19, 20):
        result = CellResult(cell("a"), summarize([Sample(0.1, 0.2, 10, 2, itl_s=(0.1,))] * count, 1.0), 0.0)
        shown.print(result_table([result]))
    few, enough = shown.file.getvalue().split("Latencies")[1:]  # type: ignore[attr-defined]
    assert "200.0*" in few
    assert "*" not in enough


def test_the_break_even_is_told_where_both_kinds_are_measured() -> None:
    answered = [Sample(0.1, 0.2, 900, 100)] * 10
    gpu, priced = (
        replace(cell("gpu"), facts=Facts("gpu", "m", gpu_usd_per_hour=1.8), utilization=0.75),
        replace(cell("api"), facts=Facts("api", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6)),
    )
    results = [CellResult(c, summarize(answered, 10.0), 0.0) for c in (gpu, priced)]
    document: Any = result_document(PLAN, results)["break_even"]
    # 0.001 USD a request; 1.8 ÷ 0.001 = 1,800 requests an hour, and 1 request/s in 3/4 of the time serves 2,700
    (pair,) = document
    assert (pair["category"], pair["self_hosted"], pair["priced"], pair["reachable"]) == ("ner", "gpu", "api", True)
    figures = ("gpu_usd_per_hour", "usd_per_request", "requests_per_hour", "tokens_per_hour")
    assert [pair[name] for name in figures] == pytest.approx([1.8, 0.001, 1_800, 1_800_000])
    assert pair["capacity_requests_per_hour"] == pytest.approx(2_700)
    shown = Console(file=StringIO(), width=200)
    shown.print(break_even_table(rivals(results)))
    assert "from there to 2,700 requests/h" in shown.file.getvalue()  # type: ignore[attr-defined]
    assert rivals([results[0], replace(results[1], cell=replace(priced, group="other"))]) == []
