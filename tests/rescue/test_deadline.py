"""A deadline comes after nearly all healthy answers, earlier if the SLO needs it. Without evidence there is none."""

from __future__ import annotations

from math import exp, log
from statistics import NormalDist
from typing import Any

import pytest

from slo_router.contract.model import LEVELS, Decision, Facts, Slo
from slo_router.contract.settings.group import RescueSettings
from slo_router.latency.curve import Curve
from slo_router.live.state import Flight
from slo_router.rescue.deadline import LONGEST, RARE, first_content, whole_answer_s
from tests.shared.builders import NOTHING_KNOWN, NOW_S, assessed, decided

WIDE = RescueSettings(min_ms=1, max_ms=1_000_000)


def decided_for(name: str, slo: Slo = Slo()) -> Decision:  # noqa: B008  # immutable
    """The decision on a request with a prompt of 1,000 tokens."""
    return decided([Facts(name, "m")], slo=slo)


def ratios(p95: float, p99: float) -> tuple[float, ...]:
    return tuple(1.0 if level < 0.95 else p95 if level < 0.99 else p99 for level in LEVELS)


def curve(p95: float = 1.6, p99: float = 2.0, weight: float = 1e9) -> Curve:
    """1 s, plus 1 ms for each of 1,000 tokens, plus 0.5 s for each other request: 3 s beside 2 others."""
    return Curve(1.0, 0.001, 0.5, 0.01, 0.0, ratios(p95, p99), ratios(1.1, 1.2), weight)


def first_content_s(*of: Any, **more: Any) -> float | None:
    found = first_content(*of, **more)
    return None if found is None else found.due_s


def flight(expected_s: float | None = None) -> Flight:
    return Flight("a", NOW_S, 2.0, None, expected_s)


@pytest.mark.parametrize(
    ("p95", "times"),
    [
        (1.2, 1.5 * 1.2),
        (2.0, 2.0**RARE),  # a wide spread, as models have that think first
        (9.0, 4.0 * 9.0),  # a p95 that comes from stalls
    ],
)
def test_it_lies_beyond_the_quantiles_at_the_load_that_the_request_met(p95: float, times: float) -> None:
    found = first_content_s(decided_for("a"), flight(), curve(p95), WIDE)
    assert found == pytest.approx(3.0 * times)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6, 1.0])
def test_of_ten_thousand_healthy_requests_hardly_a_dozen_take_longer_however_wide_their_spread(sigma: float) -> None:
    usual = NormalDist(0.0, sigma)
    shape = curve()._replace(ttft_ratios=tuple(exp(usual.inv_cdf(level)) for level in LEVELS))
    found = first_content_s(decided_for("a"), flight(), shape, WIDE)
    assert found is not None
    assert 1 - usual.cdf(log(found / 3.0)) < 0.0014


def test_it_comes_sooner_where_the_next_would_miss_the_slo_but_not_among_healthy_answers() -> None:
    decision, shape = decided_for("a", Slo(ttft_s=10.0)), curve(2.0)
    latest = 3.0 * 2.0**RARE
    assert first_content_s(decision, flight(), shape, WIDE, left_s=13.0, next_s=1.0) == pytest.approx(latest)
    assert first_content_s(decision, flight(), shape, WIDE, left_s=10.5, next_s=0.5) == pytest.approx(10.0)
    assert first_content_s(decision, flight(), shape, WIDE, left_s=1.0, next_s=0.5) == pytest.approx(latest)


def test_few_answers_hardly_show_the_spread() -> None:
    found = [first_content_s(decided_for("a"), flight(), curve(2.0, weight=weight), WIDE) for weight in (8.0, 50.0)]
    assert found == pytest.approx([3.0 * 2.0 ** (1.25 * RARE), 3.0 * 2.0 ** (1.04 * RARE)])


def test_one_that_is_late_may_be_waited_for_longer_but_not_where_the_next_would_keep_the_slo() -> None:
    decision, shape = decided_for("a"), curve(2.0)
    p95_s, keeps = 3.0 * 2.0, {"left_s": 10.5, "next_s": 0.5}
    for limits, longest_s in (({}, LONGEST * p95_s), (keeps, 10.0)):
        found = first_content(decision, flight(), shape, WIDE, **limits)  # type: ignore[arg-type]
        assert found is not None
        assert found.longest_s == pytest.approx(longest_s)
    measured = decision._replace(assessments=(assessed("a", NOTHING_KNOWN._replace(ttft_s=2.0)),))
    assert first_content(measured, flight(), None, WIDE) == (6.0, 6.0)


def test_what_a_cache_holds_of_the_prompt_needs_no_time() -> None:
    cached = decided_for("a")._replace(cached_tokens=1_000)
    assert first_content_s(cached, flight(), curve(), WIDE) == pytest.approx(2.0 * 1.6**RARE)


def test_the_settings_bound_it() -> None:
    decision = decided_for("a")
    assert first_content_s(decision, flight(), curve(), RescueSettings(min_ms=20_000)) == 20.0
    assert first_content_s(decision, flight(), curve(), RescueSettings(max_ms=4_000)) == 4.0


def test_the_defaults_wait_for_models_that_reason_for_half_a_minute() -> None:
    reasons = curve()._replace(a_s=20.0)
    p95_s = 1.6 * (20.0 + 1_000 * 0.001 + 2 * 0.5)
    found_s = first_content_s(decided_for("a"), flight(), reasons, RescueSettings())
    assert found_s is not None
    assert found_s >= 1.5 * p95_s


def test_a_benchmark_counts_three_times_over_and_nothing_at_all_gives_none() -> None:
    measured = decided_for("a")._replace(assessments=(assessed("a", NOTHING_KNOWN._replace(ttft_s=2.0)),))
    for fitted, found_s in ((None, 6.0), (curve(weight=1.0), 3.0 * 1.6 ** (1.4 * RARE))):  # the later of both
        assert first_content_s(measured, flight(), fitted, WIDE) == pytest.approx(found_s)
        assert first_content_s(decided_for("a"), flight(), fitted, WIDE) is None


def test_a_prompt_after_short_ones_alone_may_take_as_much_longer_as_it_is_longer() -> None:
    longer = decided_for("a")
    longer = longer._replace(features=longer.features._replace(prompt_tokens=9_000))
    shape = curve()._replace(a_s=0.01, b_s_per_token=0.0, c_s_per_request=0.0, known_tokens=8.0)
    assert first_content_s(longer, flight(), shape, WIDE) == pytest.approx(9_000 / 8 * 0.01 * 1.6**RARE)


def test_a_prompt_longer_than_those_that_were_seen_may_take_as_much_longer() -> None:
    longer = decided_for("a")
    longer = longer._replace(features=longer.features._replace(prompt_tokens=10_000))
    seen_s = 1.0 + 2_000 * 0.001 + 2 * 0.5  # for a prompt as long as the longest seen
    shape = curve()._replace(known_tokens=2_000.0)
    assert first_content_s(longer, flight(), shape, WIDE) == pytest.approx(5 * seen_s * 1.6**RARE)
    measured = longer._replace(assessments=(assessed("a", NOTHING_KNOWN._replace(ttft_s=2.0)),))
    assert first_content_s(measured, flight(), None, WIDE) == 10 * 6.0  # a benchmark does not tell of which it was


def test_an_answer_in_one_piece_has_one_only_where_asked_for_and_where_its_longest_is_known() -> None:
    on = WIDE.model_copy(update={"whole_answers": True})
    assert whole_answer_s(flight(4.0), on) == 6.0
    assert whole_answer_s(flight(None), on) is None
    assert whole_answer_s(flight(4.0), WIDE) is None
