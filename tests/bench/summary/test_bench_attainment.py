"""SLO attainment: errors are misses, every limit must hold; a request that cannot be judged is unknown, never met."""

from __future__ import annotations

import pytest

from slo_bench.measure.stream import Sample
from slo_bench.summary.attainment import attainment, meets
from slo_bench.summary.stats import summarize
from slo_router.contract.model import Slo

FAST = Sample(0.1, 0.5, 10, 5)  # TPOT (0.5 − 0.1) / 4 = 0.1
SLOW = Sample(0.3, 0.7, 10, 5)
FAILED = Sample(error="timeout")


@pytest.mark.parametrize(
    ("sample", "slo", "verdict"),
    [
        (FAST, Slo(ttft_s=0.1, tpot_s=0.11, e2e_s=0.5), True),  # a value equal to the limit keeps it
        (SLOW, Slo(ttft_s=0.1), False),
        (FAST, Slo(ttft_s=0.2, e2e_s=0.4), False),
        (FAILED, Slo(ttft_s=60.0), False),
        (Sample(0.1, 0.5), Slo(ttft_s=0.2), True),
        (Sample(0.1, 0.5), Slo(tpot_s=0.2), None),  # no usage, no TPOT
        (Sample(0.3, 0.5), Slo(ttft_s=0.2, tpot_s=0.2), False),  # missed whatever the TPOT was
        (Sample(0.1, 0.1, 10, 1), Slo(tpot_s=0.001), True),  # one token has no second one to wait for
    ],
)
def test_one_request(sample: Sample, slo: Slo, verdict: bool | None) -> None:
    assert meets(sample, slo) is verdict


def test_errors_count_as_missed() -> None:
    found = attainment([FAST, FAST, SLOW, FAILED], Slo(ttft_s=0.2))
    assert found is not None
    assert (found.met, found.requests, found.share) == (2, 4, 0.5)
    assert found.interval == pytest.approx((0.150, 0.850), abs=0.001)  # Wilson's for 2 of 4


@pytest.mark.parametrize(
    ("samples", "slo"),
    [
        ([FAST], Slo()),
        ([FAST], Slo(cost_per_1k_usd=0.1, min_quality=0.5)),
        ([], Slo(ttft_s=0.2)),
        ([FAST, Sample(0.1, 0.5)], Slo(tpot_s=0.2)),
    ],
)
def test_what_cannot_be_judged_is_unknown(samples: list[Sample], slo: Slo) -> None:
    assert attainment(samples, slo) is None


def test_goodput_is_what_met_the_slo_per_second() -> None:
    stats = summarize([FAST, FAST, SLOW, FAILED], wall_s=4.0, slo=Slo(ttft_s=0.2))
    assert (stats.goodput_rps, stats.requests_per_s) == (0.5, 0.75)  # 2 / 4 s and 3 / 4 s
    assert summarize([FAST], wall_s=1.0).goodput_rps is None
