"""Live evidence makes the curve of a deployment: the benchmark at first, then what is seen, then that again."""

from __future__ import annotations

import json
import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_router.contract.model import LEVELS, LatencyFit
from slo_router.latency.curve import P50, P95, Curve, Observation, tpot_s, ttft_s
from slo_router.latency.evidence import AHEAD_S, Evidence, Prior, fit

START_S = 1_800_000_000.0
PRIOR = Prior(ttft_s=0.3, tpot_s=0.015, ttft_p95_s=0.6, tpot_p95_s=0.02)
SIGMA = 0.2
P90 = LEVELS.index(0.9)


def truth_s(tokens: int, load: float) -> float:
    return 0.05 + 1e-4 * tokens + 0.02 * load


def draw(rng: random.Random, at_s: float, slowdown: float = 1.0, *, stream: bool = True) -> Observation:
    tokens, load = int(rng.lognormvariate(6.5, 0.8)), rng.randint(0, 12)
    first_s = truth_s(tokens, load) * rng.lognormvariate(0, SIGMA) * slowdown
    further_s = (0.01 + 0.001 * load) * rng.lognormvariate(0, SIGMA) * slowdown * 100
    return Observation(at_s, tokens, load, 101, first_s if stream else None, first_s + further_s)


def serve(
    count: int, *, seed: int = 0, evidence: Evidence | None = None, at_s: float = START_S, slowdown: float = 1.0
) -> tuple[Evidence, Curve, float]:
    """`count` observations at 5 a second, refitted every second."""
    rng, evidence = random.Random(seed), evidence or Evidence()
    curve = fit(evidence, PRIOR, at_s)
    for i in range(count):
        at_s += 0.2
        if i % 5 == 0:
            curve = fit(evidence, PRIOR, at_s)
        evidence.add(draw(rng, at_s, slowdown), curve)
    curve = fit(evidence, PRIOR, at_s)
    assert curve is not None
    return evidence, curve, at_s


def test_without_live_samples_the_curve_is_the_benchmark() -> None:
    curve = fit(None, PRIOR, START_S)

    assert curve is not None
    assert (ttft_s(curve, 5_000, 9), tpot_s(curve, 9)) == (0.3, 0.015)
    assert curve.ttft_ratios[P50] == 1.0
    assert 0.3 * curve.ttft_ratios[P95] == pytest.approx(0.6)
    assert 0.015 * curve.tpot_ratios[P95] == pytest.approx(0.02)
    assert curve.weight == 0


def test_without_any_measurement_there_is_no_curve() -> None:
    assert fit(None, None, START_S) is None
    assert fit(Evidence(), Prior(ttft_s=0.3), START_S) is None  # TPOT is unknown
    assert fit(Evidence(), Prior(ttft_s=0.0, tpot_s=math.nan), START_S) is None


@pytest.mark.parametrize(
    ("ttft_s", "alone_s", "per_token_s"),
    [(2.0, 0.5, 0.01), (1.0, 0.1, 0.006)],  # thoughts that come at the pace of the answer, and faster ones
)
def test_of_a_benchmarks_time_to_the_first_token_the_thoughts_before_it_are_taken_apart(
    ttft_s: float, alone_s: float, per_token_s: float
) -> None:
    ratios, errors = (1.5, 1.5), (0.1, 0.1, 0.9, 0.9)
    swept = LatencyFit(START_S, ttft_s, 0.0, 0.0, 0.0, 0.0, 0.01, 0.0, *ratios, *errors, 20, 100, 1_000, 4)
    for prior in (Prior(ttft_s=ttft_s, tpot_s=0.01, hidden_tokens=150), Prior(fit=swept, hidden_tokens=150)):
        curve = fit(None, prior, START_S)
        assert curve is not None
        assert (curve.a_s, curve.thought_s_per_token) == pytest.approx((alone_s, per_token_s))
        assert curve.hidden_tokens == 150


def test_live_samples_alone_make_a_curve() -> None:
    evidence = Evidence()
    evidence.add(Observation(START_S, 100, 0, 11, 0.2, 0.3), None)

    curve = fit(evidence, None, START_S)

    assert curve is not None
    assert ttft_s(curve, 100, 0) == pytest.approx(0.2)
    assert tpot_s(curve, 0) == pytest.approx(0.01)  # (0.3 − 0.2) ÷ 10
    assert curve.weight == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_effect_of_length_and_load_is_recovered(seed: int) -> None:
    _, curve, _ = serve(500, seed=seed)

    assert curve.b_s_per_token == pytest.approx(1e-4, rel=0.25)
    assert curve.c_s_per_request == pytest.approx(0.02, rel=0.25)
    assert curve.e_s_per_request == pytest.approx(0.001, rel=0.25)


def test_the_95th_percentile_covers_95_percent_of_fresh_requests() -> None:
    covered = []
    for seed in range(5):
        _, curve, at_s = serve(500, seed=seed)
        rng = random.Random(100 + seed)
        fresh = [draw(rng, at_s) for _ in range(1_000)]
        limits = [ttft_s(curve, o.prompt_tokens, o.in_flight) * curve.ttft_ratios[P95] for o in fresh]
        covered += [(o.ttft_s or 0) <= limit for o, limit in zip(fresh, limits, strict=True)]

    assert sum(covered) / len(covered) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_a_sixfold_slowdown_and_its_end_are_followed(seed: int) -> None:
    evidence, before, at_s = serve(500, seed=seed)
    evidence, slow, at_s = serve(40, seed=seed + 10, evidence=evidence, at_s=at_s, slowdown=6)
    evidence, _, at_s = serve(260, seed=seed + 20, evidence=evidence, at_s=at_s, slowdown=6)
    _, after, _ = serve(60, seed=seed + 30, evidence=evidence, at_s=at_s)

    assert ttft_s(slow, 800, 6) == pytest.approx(6 * truth_s(800, 6), rel=0.3)
    assert ttft_s(after, 800, 6) == pytest.approx(truth_s(800, 6), rel=0.5)
    assert after.ttft_ratios[P95] < 2 * before.ttft_ratios[P95]


@pytest.mark.parametrize("slots", [8, 30, 64])
def test_the_load_at_which_requests_begin_to_queue_is_found(slots: int) -> None:
    rng, evidence, curve = random.Random(slots), Evidence(), fit(None, PRIOR, START_S)
    for i in range(400):
        at_s, tokens, load = START_S + i / 10, rng.randint(100, 2_000), rng.randint(0, 2 * slots)
        queued_s = 0.08 * max(0, load - slots)
        first_s = (0.05 + 1e-4 * tokens + queued_s) * rng.lognormvariate(0, 0.15)
        evidence.add(Observation(at_s, tokens, load, 101, first_s, first_s + 1), curve)
        curve = fit(evidence, PRIOR, at_s) if i % 10 == 0 else curve

    assert curve is not None
    assert curve.knee == pytest.approx(slots, rel=0.25)
    assert ttft_s(curve, 1_000, slots // 2) == pytest.approx(0.15, rel=0.2)
    assert ttft_s(curve, 1_000, 2 * slots) == pytest.approx(0.15 + 0.08 * slots, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_a_swept_queue_is_known_while_no_live_request_came_that_far(seed: int) -> None:
    """Each request in flight makes the first token 20 ms later, which a knee at a low load explains as well."""
    swept = LatencyFit(START_S, 0.05, 1e-4, 0.0, 0.5, 24.0, 0.01, 0.001, 1.4, 1.4, 0.1, 0.1, 0.9, 0.9, 500, 10, 9e3, 48)
    evidence, _, at_s = serve(300, seed=seed)

    curve = fit(evidence, Prior(fit=swept), at_s)

    assert curve is not None
    assert (curve.knee, curve.is_swept) == (24, True)
    assert ttft_s(curve, 500, 32) - ttft_s(curve, 500, 24) == pytest.approx(8 * 0.5, rel=0.2)


def test_one_odd_answer_among_a_dozen_to_short_prompts_says_little_of_the_spread_and_of_long_prompts() -> None:
    """A dozen at 7 s, the last but one twice as late as usual; 400 tokens are far beyond what was seen."""
    evidence, prior = Evidence(), Prior(ttft_s=2.6, tpot_s=0.06, ttft_p95_s=4.3, tpot_p95_s=0.1)
    usual = [2.2, 3.0, 2.5, 2.7, 1.9, 3.3, 2.6, 2.4, 2.9, 2.1, 3.1]
    before: list[float] = []
    curve = fit(None, prior, START_S)
    for number, observed_s in enumerate([*usual, 5.4, 2.6]):
        assert curve is not None
        if number == len(usual):
            before = [ttft_s(curve, tokens, 0) * curve.ttft_ratios[P90] for tokens in (100, 400)]
        tokens = 150 if number >= len(usual) else 60 + (37 * number) % 90
        evidence.add(Observation(START_S + 7 * number, tokens, 0, 8, observed_s, observed_s + 0.4), curve)
        curve = fit(evidence, prior, START_S + 7 * number)
    assert curve is not None
    after = [ttft_s(curve, tokens, 0) * curve.ttft_ratios[P90] for tokens in (100, 400)]
    assert after[0] < 1.5 * before[0]
    assert after[1] < 1.6 * before[1]


def test_answers_that_are_not_streamed_teach_the_tpot() -> None:
    rng, evidence, curve = random.Random(1), Evidence(), fit(None, PRIOR, START_S)
    for i in range(200):
        evidence.add(draw(rng, START_S + i / 5, stream=False), curve)

    curve = fit(evidence, PRIOR, START_S + 40)

    assert curve is not None
    assert ttft_s(curve, 100, 0) == 0.3  # nothing was seen of it
    assert tpot_s(curve, 6) == pytest.approx(0.016, rel=0.15)


def test_short_answers_that_are_not_streamed_say_nothing_of_the_tpot() -> None:
    """A first token after 2.8 s ± 30 % made 4 ms per token look like 40, for it is not seen in a whole answer."""
    rng, prior = random.Random(1), Prior(ttft_s=2.8, tpot_s=0.004, ttft_p95_s=4.6, tpot_p95_s=0.005)
    evidence, curve = Evidence(), fit(None, prior, START_S)
    for i in range(200):
        e2e_s = 2.8 * rng.lognormvariate(0, 0.3) + 20 * 0.004
        evidence.add(Observation(START_S + i / 5, 100, 0.0, 21, None, e2e_s), curve)
    for i in range(5):  # those that decode for long do
        evidence.add(Observation(START_S + 40 + i, 100, 0.0, 5_001, None, 2.8 + 5_000 * 0.0045), curve)
    curve = fit(evidence, prior, START_S + 45)
    assert curve is not None
    assert tpot_s(curve, 0) == pytest.approx(0.0043, rel=0.05)


def test_old_evidence_fades_back_to_the_benchmark() -> None:
    evidence, _, at_s = serve(300, slowdown=3)
    typical = [
        ttft_s(curve, 800, 6)  # 0.75 live, 0.3 in the benchmark
        for minutes in (0, 6, 9, 12, 60)
        if (curve := fit(evidence, PRIOR, at_s + minutes * 60)) is not None
    ]

    assert typical == sorted(typical, reverse=True)
    assert typical[0] == pytest.approx(0.75, rel=0.15)
    assert typical[-2:] == pytest.approx([0.3, 0.3], rel=0.05)
    assert fit(evidence, PRIOR, at_s + 3_600)[:7] == fit(None, PRIOR, at_s)[:7]  # type: ignore[index]


@given(st.integers(2, 6), st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_sums_of_several_workers_make_one_observers_curve(workers: int, seed: int) -> None:
    rng = random.Random(seed)
    expected = fit(None, PRIOR, START_S)
    seen = [draw(rng, START_S + i / 10, rng.choice((1.0, 1.0, 3.0))) for i in range(120)]
    single, parts = Evidence(), [Evidence() for _ in range(workers)]
    for observation in seen:
        single.add(observation, expected)
    for observation in rng.sample(seen, len(seen)):  # each worker hears them in any order
        rng.choice(parts).add(observation, expected)

    alone = fit(Evidence.merge([single], START_S + 20), PRIOR, START_S + 20)
    together = fit(Evidence.merge(parts, START_S + 20), PRIOR, START_S + 20)
    sent = [back for part in parts if (back := Evidence.from_raw(part.to_raw()))]
    received = fit(Evidence.merge(sent, START_S + 20), PRIOR, START_S + 20)

    assert alone is not None
    assert together is not None
    assert received is not None
    for one, other, rel in ((alone, together, 1e-6), (alone, received, 1e-4)):
        assert one[:5] == pytest.approx(other[:5], rel=rel, abs=1e-9)
        assert one.ttft_ratios == pytest.approx(other.ttft_ratios, rel=rel)
        assert one.tpot_ratios == pytest.approx(other.tpot_ratios, rel=rel)
        assert one.weight == pytest.approx(other.weight)


ODD = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1e-9, 1e9, 3_599.0, START_S])
ODDITIES = st.builds(
    Observation,
    at_s=ODD | st.floats(START_S - 10_000, START_S + 10_000),
    prompt_tokens=st.integers(-10, 10**12) | st.integers(0, 1_000),
    in_flight=ODD | st.floats(0, 20),
    output_tokens=st.none() | st.integers(-5, 10**12) | st.integers(0, 500),
    ttft_s=st.none() | ODD | st.floats(0.01, 1),
    e2e_s=st.none() | ODD | st.floats(0.01, 10),
    hidden_tokens=ODD | st.just(0.0) | st.floats(0, 5_000),
)


@given(st.lists(ODDITIES, max_size=40), ODD | st.just(START_S), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_is_observed_the_curve_stays_sane_and_small(
    seen: list[Observation], now_s: float, known: bool
) -> None:
    evidence, prior = Evidence(), PRIOR if known else None
    now_s = now_s if 0 <= now_s <= 1e12 else START_S
    curve = fit(evidence, prior, now_s)
    for observation in seen:
        evidence.add(observation, curve)
        evidence.add(observation, curve)  # delivered twice
        curve = fit(Evidence.merge([evidence, evidence], now_s), prior, now_s)
        if curve is not None:
            assert all(
                math.isfinite(value) and value >= 0
                for value in (*curve[:5], curve.k_s_per_request, curve.thought_s_per_token)
            )
            assert all(0 < ratio < 100 for ratio in (*curve.ttft_ratios, *curve.tpot_ratios))
            assert list(curve.ttft_ratios) == sorted(curve.ttft_ratios)
            assert 0 <= curve.weight <= 4 * len(seen)
    assert len(bytes(evidence.to_raw())) < 8_000


def test_an_event_that_comes_late_moves_no_time_and_grows_nothing() -> None:
    evidence, _, at_s = serve(50)
    before, as_of_s = evidence.ttft[0].count, evidence.at_s
    assert as_of_s is not None
    assert at_s - AHEAD_S <= as_of_s <= at_s
    evidence.add(Observation(as_of_s - 120, 100, 0, 11, 0.2, 0.3), None)

    assert evidence.at_s == as_of_s
    assert evidence.ttft[0].count == pytest.approx(before + 0.25)  # two half-lives of a minute


def test_a_clock_put_back_does_not_stop_the_learning() -> None:
    evidence, _, at_s = serve(100)
    evidence, curve, _ = serve(100, seed=3, evidence=evidence, at_s=at_s - 86_400, slowdown=6)

    assert ttft_s(curve, 800, 6) == pytest.approx(6 * truth_s(800, 6), rel=0.3)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["at_s", "ttft", "tpot"]), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_no_evidence_is_refused(value: object) -> None:
    assert Evidence.from_raw(msgspec.Raw(json.dumps(value).encode())) is None


SENT = bytes(serve(20)[0].to_raw())


@given(st.integers(0, 2), st.sampled_from(["ttft", "tpot"]), st.lists(st.floats(0, 1e30), min_size=6, max_size=10))
@settings(max_examples=30, deadline=None)
def test_numbers_that_no_worker_could_have_seen_make_no_insane_curve(
    memory: int, quantity: str, products: list[float]
) -> None:
    value = json.loads(SENT)
    kept = value[quantity][memory][1]
    value[quantity][memory][1] = (products + kept)[: len(kept)]
    found = Evidence.from_raw(msgspec.Raw(json.dumps(value).encode()))
    assert found is not None

    curve = fit(Evidence.merge([found, found], START_S + 5), PRIOR, START_S + 5)

    assert curve is not None
    assert all(
        math.isfinite(number) and number >= 0
        for number in (*curve[:5], curve.k_s_per_request, curve.thought_s_per_token)
    )


def test_a_worker_publishes_four_kilobytes_at_most() -> None:
    evidence, _, _ = serve(2_000)

    assert len(bytes(evidence.to_raw())) < 4_096


def test_a_late_answer_just_beyond_a_knee_is_no_steep_queue() -> None:
    """Loads are fractions where several workers add them up: 0.1 beyond a knee, 0.3 s late are not 3 s per request."""
    evidence, prior = Evidence(), Prior(ttft_s=0.1, tpot_s=0.015, ttft_p95_s=0.13, tpot_p95_s=0.02)
    curve, rng = fit(evidence, prior, START_S), random.Random(3)
    for i in range(60):
        evidence.add(Observation(START_S + i, 1_000, i % 8, 101, 0.1 * rng.lognormvariate(0, 0.1), 1.6), curve)
    for i in range(3):
        evidence.add(Observation(START_S + 60 + i, 1_000, 8.1, 101, 0.4, 1.9), curve)

    curve = fit(evidence, prior, START_S + 63)

    assert curve is not None
    assert ttft_s(curve, 1_000, 11) < 1.0
