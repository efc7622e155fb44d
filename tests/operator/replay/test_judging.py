"""Measured values are compared with another SLO. Of another deployment only cost and quality are known."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Slo
from slo_router.operator.replay.judging import breaks_the_rest, judge, latencies_of
from tests.shared.record_builders import read_back


@pytest.mark.parametrize(
    ("changes", "slo", "met"),
    [
        ({}, Slo(ttft_s=0.15), True),
        ({}, Slo(ttft_s=0.149), False),
        ({"ttft_ms": None}, Slo(ttft_s=0.15), None),
        ({}, Slo(cost_per_1k_usd=0.00125), True),  # 0.0005 · 1,000 / 400
        ({}, Slo(cost_per_1k_usd=0.00124), False),
        ({}, Slo(min_quality=0.7), True),
        ({"outcome": "error"}, Slo(), False),
    ],
)
def test_a_request_is_judged_by_another_slo(changes: dict[str, object], slo: Slo, met: bool | None) -> None:
    assert judge(read_back(None, **changes), slo, 0.7) is met


def test_the_latencies_are_what_only_an_answer_tells() -> None:
    assert latencies_of(Slo(0.1, 0.2, 0.3, 0.4, 0.5)) == Slo(0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("slo", "cost_usd", "quality", "breaks"),
    [
        (Slo(ttft_s=0.001), 0.0005, 0.7, False),  # the other one may be faster
        (Slo(cost_per_1k_usd=0.00125), 0.0005, 0.7, False),
        (Slo(cost_per_1k_usd=0.00124), 0.0005, 0.7, True),
        (Slo(cost_per_1k_usd=0.00124), None, 0.7, False),  # not known
        (Slo(ttft_s=0.5, min_quality=0.8), 0.0005, 0.7, True),
        (Slo(min_quality=0.8), 0.0005, None, False),
    ],
)
def test_another_deployment_may_break_the_rest(
    slo: Slo, cost_usd: float | None, quality: float | None, *, breaks: bool
) -> None:
    assert breaks_the_rest(read_back(outcome="error"), slo, cost_usd, quality) is breaks
