"""Results as an exit code and as remarks: whatever was planned and is not measured, whole and written is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slo_bench.plan import Cell, Plan, Skipped
from slo_bench.report import remarks, result_document
from slo_bench.results import CellResult, exit_code
from slo_bench.stats import summarize
from slo_bench.stream import Sample
from slo_bench.targets import Target
from slo_bench.workload import Prompt
from slo_router.domain import Facts

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
    document = result_document(PLAN, [FAILED])
    assert document["results"] == [
        {
            "deployment": "b",
            "category": "ner",
            "requests": 1,
            "errors": {"timeout": 1},
            "error_rate": 1.0,
            "ttft_ms": None,
            "tpot_ms": None,
            "e2e_ms": None,
            "prompt_tokens": None,
            "completion_tokens": None,
            "throughput_tps": None,
            "cost_per_1k": None,
            "complete": True,
            "published": True,
        }
    ]
