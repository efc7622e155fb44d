"""A wrong benchmark counts once: what the fit learned counts neither in the spread nor as lateness again.

A server takes one prompt after the other. It gets rounds of a few requests at once.
"""

from __future__ import annotations

import pytest

from slo_router.latency.curve import P50, P95, Curve, ttft_s
from slo_router.latency.evidence import Prior
from slo_router.live.live import Live
from slo_router.live.state import Flight
from tests.shared.builders import NOW_S

ROUNDS, AT_ONCE, LOOKS_PER_S = 6, 4, 4
TOKENS = 1_500
Level = tuple[float, float]  # p50 and p95 of a prediction, each ÷ the time that the request took


def curve_of(live: Live) -> Curve:
    curve = live.state("a").curve
    assert curve is not None
    return curve


def rounds(measured_s: float, serves_s: float) -> list[Level]:
    """The predictions for each request, beside its time."""
    live, priors, found = Live(), {"a": Prior(measured_s, 0.02)}, list[Level]()
    list(live.refit(priors, NOW_S))
    look = 0
    for _ in range(ROUNDS):
        sent_s = NOW_S + look / LOOKS_PER_S
        under_way: list[tuple[float, Flight]] = []
        for place in range(1, AT_ONCE + 1):
            curve, took_s = curve_of(live), place * serves_s
            typical_s = ttft_s(curve, TOKENS, live.in_flight("a"))
            p50_s, p95_s = (typical_s * curve.ttft_ratios[level] for level in (P50, P95))
            found.append((p50_s / took_s, p95_s / took_s))
            under_way.append((took_s, live.dispatched("a", sent_s, p50_s)))
        while under_way or look % LOOKS_PER_S:  # until the next refit that includes all requests
            look += 1
            now_s = NOW_S + look / LOOKS_PER_S
            while under_way and sent_s + under_way[0][0] <= now_s:
                took_s, flight = under_way.pop(0)
                live.first_token(flight, sent_s + took_s, prompt_tokens=TOKENS, ttft_s=took_s)
                live.finished(flight, "success", now_s, prompt_tokens=TOKENS, output_tokens=9, ttft_s=took_s, e2e_s=9.0)
            if look % LOOKS_PER_S == 0:
                list(live.refit(priors, now_s))
            live.watch(now_s)
    return found


@pytest.mark.parametrize(("measured_s", "serves_s"), [(0.06, 2.3), (0.06, 0.4), (0.4, 0.4), (5.0, 0.4), (60.0, 0.4)])
def test_after_one_round_it_is_predicted_to_take_about_what_it_takes(measured_s: float, serves_s: float) -> None:
    later = rounds(measured_s, serves_s)[AT_ONCE:]
    assert all(0.3 < p50 < 2 for p50, _ in later), later
    assert all(0.5 < p95 < 5 for _, p95 in later), later


def test_one_that_became_slow_is_not_taken_for_slower_than_it_is() -> None:
    """Waiting requests show the slowness first, and the fit learns the same slowness from their answers."""
    live, priors = Live(), {"a": Prior(0.5, 0.02)}
    arrivals_s, under_way, highest = [NOW_S + place for place in range(90)], list[tuple[float, float, Flight]](), 0.0
    for look in range(90 * LOOKS_PER_S):
        now_s = NOW_S + look / LOOKS_PER_S
        while arrivals_s and arrivals_s[0] <= now_s:
            if look % LOOKS_PER_S == 0:
                list(live.refit(priors, now_s))
            sent_s, took_s = arrivals_s.pop(0), 0.5 if look < 45 * LOOKS_PER_S else 3.0
            expected_s = ttft_s(curve_of(live), TOKENS, 2.0)
            under_way.append((sent_s + took_s, took_s, live.dispatched("a", sent_s, expected_s)))
        for end_s, took_s, flight in [one for one in under_way if one[0] <= now_s]:
            live.first_token(flight, end_s, prompt_tokens=TOKENS, ttft_s=took_s)
            live.finished(flight, "success", end_s, prompt_tokens=TOKENS, output_tokens=9, ttft_s=took_s, e2e_s=9.0)
        under_way = [one for one in under_way if one[0] > now_s]
        live.watch(now_s)
        highest = max(highest, ttft_s(curve_of(live), TOKENS, 2.0))
    assert highest < 3 * 3.0
