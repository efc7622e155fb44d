"""The objective `value` on the stock proxy: its targets are kept over the group's requests.

The groups `valued` (75 % of the best model's quality) and `budgeted` (USD by the day) have the deployments `small` and
`large`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, cast

import pytest

from slo_router.contract.keys import spent_key
from slo_router.worker.learning.days import day_of
from slo_router.worker.learning.worths import ENOUGH
from tests.e2e.conftest import QUALITY, Stack
from tests.shared.days import stay_within_a_day

SMALL, LARGE = QUALITY["small"], QUALITY["large"]


def asked(stack: Stack, group: str, count: int) -> Counter[str]:
    """Sends `count` requests. Counts the answers by deployment."""
    return Counter(stack.ask(model=group).headers["x-slo-selected-model"] for _ in range(count))


def decision_of(stack: Stack, count: int) -> dict[str, Any]:
    """The decision of the latest of `count` records."""
    return cast("dict[str, Any]", stack.records(count)[-1]["decision"])


def test_a_target_for_quality_is_just_kept(stack: Stack) -> None:
    assert set(asked(stack, "valued", ENOUGH)) == {"valued-large"}  # until the group has seen enough requests
    stack.refreshed()
    stack.refreshed()
    needed = (0.75 * LARGE - SMALL) / (LARGE - SMALL)
    found = asked(stack, "valued", 80)["valued-large"] / 80
    assert needed - 0.2 < found < 0.8  # more than needed, until the first thirty of unknown length are forgotten
    by_name = {one["deployment"]: one["scores"]["quality_usd"] for one in decision_of(stack, ENOUGH + 80)["candidates"]}
    assert by_name["valued-small"] / SMALL == pytest.approx(by_name["valued-large"] / LARGE)


def test_a_budget_buys_the_best_while_it_lasts(stack: Stack) -> None:
    stay_within_a_day(100.0)
    assert set(asked(stack, "budgeted", ENOUGH)) == {"budgeted-small"}
    stack.refreshed()
    stack.refreshed()
    assert set(asked(stack, "budgeted", 5)) == {"budgeted-large"}
    spent_usd = sum(float(str(record["cost_usd"])) for record in stack.records(ENOUGH + 5))
    written = stack.redis.hgetall(spent_key("", day_of(time.time())))
    assert float(written["budgeted:usd"]) == pytest.approx(spent_usd)
    assert float(written["budgeted:requests"]) == ENOUGH + 5
