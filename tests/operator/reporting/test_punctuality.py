"""Measured ÷ predicted times tell how many requests keep another limit, or a limit at another prediction."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Prediction, Slo
from slo_router.operator.reporting.punctuality import Punctuality, Trials, tightness
from tests.shared.record_builders import read_back

EXPECTED = Prediction(0.2, 0.01, 2.0, None, None, None, None, "live", 0.0, 5)


def seen(*ttft_ms: float | None, errors: int = 0) -> Punctuality:
    """Requests with a predicted TTFT of 200 ms and E2E of 2 s. The E2E of all was 1 s."""
    found = Punctuality()
    for value in ttft_ms:
        found.add(read_back(ttft_ms=value, tpot_ms=None, e2e_ms=1_000.0), EXPECTED)
    for _ in range(errors):
        found.add(read_back(outcome="error"), EXPECTED)
    return found


@pytest.mark.parametrize(
    ("slo", "expected", "kept"),
    [
        (Slo(ttft_s=0.2), EXPECTED, Trials(1, 4)),  # ratios 0.5, 1.5, 2 and 4; at most 1 keeps the limit
        (Slo(ttft_s=0.5), EXPECTED, Trials(3, 4)),  # 2.5
        (Slo(ttft_s=0.5), EXPECTED._replace(ttft_s=0.4), Trials(1, 4)),  # 1.25: a longer prompt
        (Slo(ttft_s=0.5, e2e_s=0.9), EXPECTED, Trials(0, 4)),  # all took 0.5 of the 2 s; at most 0.45 keeps the limit
        (Slo(ttft_s=0.5, e2e_s=1.1), EXPECTED, Trials(3, 4)),  # the limit that is kept least decides
        (Slo(tpot_s=0.5), EXPECTED, Trials(0, 0)),  # never measured
        (Slo(cost_per_1k_usd=0.1), EXPECTED, Trials(4, 4)),  # no limit on time
    ],
)
def test_a_limit_is_held_against_the_ratios(slo: Slo, expected: Prediction, kept: Trials) -> None:
    limits = tightness(slo, expected)
    assert limits is not None
    assert seen(100.0, 300.0, 400.0, 800.0).kept(limits) == kept


def test_an_error_keeps_no_limit() -> None:
    assert seen(100.0, errors=3).kept((("ttft_s", 1),)) == Trials(1, 4)
    assert seen(errors=2).kept(()) == Trials(0, 2)


def test_nothing_expected_is_nothing_told() -> None:
    assert tightness(Slo(ttft_s=0.1), EXPECTED._replace(ttft_s=None)) is None
    assert tightness(Slo(), EXPECTED._replace(ttft_s=None)) == ()
    unforeseen = Punctuality()
    unforeseen.add(read_back(), None)
    assert unforeseen.kept((("ttft_s", 100),)) == Trials(0, 0)
