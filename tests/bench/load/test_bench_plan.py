"""The plan: cells by deployment, the same prompts for all, filters that must match, and reported skips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_bench.errors import BenchError
from slo_bench.load.plan import Plan, Selection, make_plan
from slo_bench.prompts.workload import Prompt, Workload
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment

WORKLOAD = Workload(
    tuple(Prompt(category, ({"role": "user", "content": f"{i}"},), 8) for category in ("ner", "chat") for i in range(4))
)
FLEET = [ManagedDeployment("smart", Facts(name, f"openai/{name}"), "http://gpu/v1") for name in ("small", "large")]


def plan(**selection: object) -> Plan:
    return make_plan(FLEET, WORKLOAD, Selection(**selection), None)  # type: ignore[arg-type]


def test_one_cell_per_deployment_and_category_deployment_by_deployment() -> None:
    cells = [(cell.facts.deployment_id, cell.category) for cell in plan().cells]
    assert cells == [("small", "ner"), ("small", "chat"), ("large", "ner"), ("large", "chat")]
    assert [len(group) for group in plan().by_deployment()] == [2, 2]


def test_every_deployment_gets_the_same_prompts_in_the_same_order() -> None:
    small, large = plan().by_deployment()
    assert [cell.prompts for cell in small] == [cell.prompts for cell in large]


def test_the_order_comes_from_the_seed() -> None:
    assert plan(seed=1) == plan(seed=1)
    assert len({str(plan(seed=seed, requests=4).cells[0].prompts) for seed in range(20)}) > 1


@given(requests=st.integers(1, 30), seed=st.integers())
def test_prompts_are_used_evenly(requests: int, seed: int) -> None:
    prompts = plan(requests=requests, seed=seed).cells[0].prompts
    counts = [prompts.count(prompt) for prompt in WORKLOAD.of_category("ner")]
    assert sum(counts) == requests
    assert max(counts) - min(counts) <= 1


def test_filters_keep_what_they_name() -> None:
    only = plan(deployments=("large",), categories=("chat",), requests=3)
    assert [(cell.facts.deployment_id, cell.category, len(cell.prompts)) for cell in only.cells] == [
        ("large", "chat", 3)
    ]
    assert only.requests == 3


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"deployments": ("smal",)}, "--deployments: 'smal' is unknown, expected one of small, large"),
        ({"categories": ("code",)}, "--categories: 'code' is unknown, expected one of ner, chat"),
    ],
)
def test_a_filter_that_names_nothing_is_an_error(selection: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        plan(**selection)


def test_a_deployment_that_cannot_be_called_is_skipped_with_a_reason() -> None:
    fleet = [*FLEET, ManagedDeployment("smart", Facts("claude", "anthropic/claude"))]
    made = make_plan(fleet, WORKLOAD, Selection(), None)
    assert {cell.facts.deployment_id for cell in made.cells} == {"small", "large"}
    assert [skipped.deployment_id for skipped in made.skipped] == ["claude"]
    assert "--via-proxy" in made.skipped[0].reason
