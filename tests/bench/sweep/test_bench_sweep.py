"""The sweep: when a step is saturated, which rate comes next, and whether known coefficients are recovered."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.agent import sweep_fit
from evaluation.emulator import EndpointSpec
from evaluation.shared.virtual_time import VirtualEndpoint, VirtualLoop, run
from slo_bench.load.plan import Cell
from slo_bench.load.sending import Sent
from slo_bench.measure.stream import Sample
from slo_bench.prompts.workload import Prompt
from slo_bench.sweep.climbing import FACTOR, MOST_STEPS, Judged, judge, knee, next_rate
from slo_bench.sweep.course import Course, Grid, Swept
from slo_bench.sweep.overlap import mean_load
from slo_bench.sweep.regression import fit_sweep
from slo_bench.sweep.step import Step, figures, queue_growth, stretch
from slo_router.contract.model import Facts, Slo

LIMIT = Slo(ttft_s=0.5)
PROMPT = Prompt("ner", ({"role": "user", "content": "Who?"},), 8)


def step(
    rate: float = 4.0, loads: Sequence[int] = (), *, wall_s: float = 10.5, ttft_s: float = 0.1, planned: int = 0
) -> Step:
    """A step: requests spread evenly over ten seconds, half a second each, with `loads` in flight."""
    loads = loads or [2] * 40
    sample = Sample(ttft_s, 0.5, 100, 11)
    sent = tuple(Sent(PROMPT, sample, 10 * i / len(loads), 0.0, load, 0.001) for i, load in enumerate(loads))
    return Step(100, rate, planned or len(sent), 10.0, wall_s, sent)


def judged(one: Step, target: float = 0.9) -> Judged:
    return judge(one, figures(one, LIMIT), 0.5, target)


def test_the_figures_of_a_step() -> None:
    found = figures(step(planned=50), LIMIT)
    assert (found.offered_per_s, found.served_per_s) == (5.0, pytest.approx(40 / 10.5))
    assert (found.attained, found.goodput_per_s, found.errors) == (0.8, 4.0, 10)  # ten were cancelled
    assert (found.ttft_p50_s, found.tpot_p50_s, found.e2e_p50_s) == (0.1, pytest.approx(0.04), 0.5)
    assert (found.in_flight, found.prompt_tokens) == (2.0, 100.0)


def test_a_step_without_an_answer_has_no_latencies_and_keeps_nothing() -> None:
    failed = step()._replace(sent=(Sent(PROMPT, Sample(error="timeout"), 0.0, 5.0, 0, 0.0),))
    found = figures(failed, Slo())
    assert (found.ttft_p50_s, found.attained, found.errors) == (None, 0.0, 40)


@pytest.mark.parametrize(
    ("one", "saturated"),
    [
        (step(), None),
        (step(wall_s=13.0), None),  # 24 % longer than 10 s plus one answer
        (step(wall_s=13.2), "served"),
        (step(planned=41), "served"),  # one request was cancelled at the end of the step
        (step(loads=[2] * 26 + [7] * 14), "the queue grew from 2 to 7"),
        (step(loads=[2] * 26 + [5] * 14), None),  # three more may be chance
        (step(loads=[20] * 26 + [32] * 14), None),  # 13 standard deviations of 20 are √20
        (step(loads=[20] * 26 + [36] * 14), "the queue grew"),
        (step(ttft_s=0.6), "only 0% kept the SLO"),
        (step(0.0, wall_s=99.0), None),  # one at a time
    ],
)
def test_what_counts_as_saturated(one: Step, saturated: str | None) -> None:
    found = judged(one).saturated
    assert (found is None) if saturated is None else (found or "").startswith(saturated)


def test_the_first_third_of_a_step_is_spent_filling_up() -> None:
    assert queue_growth(step(loads=[0] * 10 + [5] * 10 + [6] * 10).sent) == (5, 6)
    assert queue_growth(()) == (0, 0)
    assert stretch(step(wall_s=10.5), 0.5) == 1.0
    assert stretch(step(planned=99), 0.5) == math.inf


def climb(capacity: float, breaks_slo_at: float, given: Sequence[float] = ()) -> list[Judged]:
    """A server that saturates at `capacity` and misses the SLO from `breaks_slo_at` on."""
    found: list[Judged] = []
    while (rate := next_rate(found, 0.5, given)) is not None:
        one = step(rate, wall_s=20.0 if rate > capacity else 10.5, ttft_s=0.6 if rate > capacity else 0.1)
        attained = 0.0 if rate > capacity else 0.7 if rate > breaks_slo_at else 1.0
        found.append(judge(one, figures(one, LIMIT)._replace(attained=attained), 0.5, 0.9))
    return found


@given(st.floats(2.1, 900), st.floats(0.1, 1.0))
@settings(max_examples=30)
def test_rates_rise_until_saturation_and_then_narrow_the_knee_down_to_a_fifth(capacity: float, share: float) -> None:
    found = climb(capacity, capacity * share)
    rates = [one.step.asked_per_s for one in found]
    first = next(i for i, one in enumerate(found) if one.saturated)
    assert rates[: first + 1] == [2.0 * FACTOR**i for i in range(first + 1)]
    assert first <= len(found) - 1 <= first + 2
    best = knee(found)
    if best is None:
        assert capacity * share < 2.0
    else:
        assert best.step.asked_per_s <= capacity * share <= best.step.asked_per_s * FACTOR**0.25 * 1.001


def test_given_rates_are_tried_in_turn_until_one_is_saturated() -> None:
    assert [one.step.asked_per_s for one in climb(5.0, 5.0, [1, 3, 9, 27])] == [1, 3, 9]
    assert [one.step.asked_per_s for one in climb(99.0, 99.0, [1, 3])] == [1, 3]


def test_a_server_that_never_saturates_ends_the_climb() -> None:
    assert len(climb(math.inf, math.inf)) == MOST_STEPS


def test_a_good_step_above_a_bad_one_is_no_knee() -> None:
    rates = [(1.0, True), (2.0, False), (4.0, True)]
    found = [Judged(step(rate), figures(step(rate), LIMIT), None, good) for rate, good in rates]
    best = knee(found)
    assert best is not None
    assert best.step.asked_per_s == 1.0
    assert knee(found[1:]) is None


def test_the_mean_load_is_that_of_the_others_while_the_answer_was_written() -> None:
    def one(sent_s: float, first_s: float, end_s: float) -> Sent:
        return Sent(PROMPT, Sample(first_s - sent_s, end_s - sent_s, 1, 9), sent_s, end_s + 0.1, 0)

    first, second, third = mean_load([one(0, 1, 5), one(3, 3.5, 9), one(20, 21, 22)])
    assert first == pytest.approx(2 / 4)  # the second was there from 3 to 5, of 1 to 5
    assert second == pytest.approx(1.5 / 5.5)
    assert third == 0
    assert mean_load([Sent(PROMPT, Sample(error="timeout"), 0, 5, 0)]) == [None]


TRUTH = {"a": 0.05, "b": 5e-5, "c": 0.004, "k": 0.05, "knee": 16.0, "d": 0.012, "e": 0.0006}


def emulated(length: int, load: int, seed: int, *, each: int = 4, outliers: int = 0) -> Step:
    """`load` + 1 clients, one request each at a time, by the formula with 5 % noise. Some are ten times slower."""
    rng, sent = random.Random(f"{length}:{load}:{seed}"), []
    over = max(0.0, load - TRUTH["knee"])
    typical_s = TRUTH["a"] + TRUTH["b"] * length + TRUTH["c"] * load + TRUTH["k"] * over
    for client in range(load + 1):
        at_s = client * 1e-3
        for i in range(each):
            first_s = typical_s * rng.lognormvariate(0, 0.05) * (10 if client * each + i < outliers else 1)
            whole_s = first_s + 100 * (TRUTH["d"] + TRUTH["e"] * load) * rng.lognormvariate(0, 0.02)
            sent.append(Sent(PROMPT, Sample(first_s, whole_s, length, 101), at_s, at_s + whole_s, load, 0.0))
            at_s += whole_s
    return Step(length, float(load), len(sent), 10.0, 10.0, tuple(sent))


def sweep(seed: int, outliers: int = 0) -> list[Step]:
    return [
        emulated(n, load, seed, each=24 // (load + 1) + 2, outliers=outliers if load else 0)
        for n in (128, 1_024, 4_096)
        for load in (0, 1, 3, 8, 20, 40)
    ]


@pytest.mark.parametrize(("seed", "outliers"), [(1, 3)])
def test_known_coefficients_are_recovered_within_fifteen_percent(seed: int, outliers: int) -> None:
    found = fit_sweep(sweep(seed, outliers), 1_000.0)
    assert found is not None
    fitted = (found.a_s, found.b_s_per_token, found.c_s_per_request, found.k_s_per_request, found.d_s)
    assert (found.knee, *fitted) == pytest.approx([TRUTH[name] for name in ("knee", *"abckd")], rel=0.15)
    assert found.e_s_per_request == pytest.approx(TRUTH["e"], rel=0.15)
    assert found.ttft_error == pytest.approx(0.034, abs=0.012)  # the median of |N(0, 5 %)|
    assert found.ttft_p95_ratio == pytest.approx(1.085, abs=0.05)
    assert (found.tokens_min, found.tokens_max, found.load_max) == (128, 4_096, 40)


def test_requests_of_a_cut_step_or_above_the_knee_tell_nothing_of_the_pace() -> None:
    whole = sweep(0)
    slow = Sample(0.5, 0.5 + 40 * 0.5, 128, 41)
    cut = Step(128, 32.0, 99, 10.0, 20.0, tuple(Sent(PROMPT, slow, float(i), i + 30.0, 5, 0.0) for i in range(60)))
    with_cut = fit_sweep([*whole, cut], 0.0)
    assert with_cut is not None
    assert with_cut.d_s == pytest.approx(TRUTH["d"], rel=0.01)


@pytest.mark.parametrize("steps", [[], [emulated(128, 0, 0)], [emulated(128, 4, 0), emulated(150, 4, 0)]])
def test_too_little_or_one_length_alone_makes_no_fit(steps: list[Step]) -> None:
    assert fit_sweep(steps, 0.0) is None


def test_answers_without_usage_make_no_fit() -> None:
    blind = [one._replace(sent=tuple(s._replace(sample=Sample(0.1, 0.5)) for s in one.sent)) for one in sweep(0)]
    assert fit_sweep(blind, 0.0) is None


def test_the_numbers_of_an_emulated_endpoint_are_recovered_within_fifteen_percent() -> None:
    grid = Grid((128, 2_048), step_s=2.0, output_tokens=16)

    async def swept(loop: VirtualLoop) -> Swept:
        return await sweep_fit.sweep(loop, VirtualEndpoint(sweep_fit.SPECS[0], loop.time).measure, grid)

    found = run(swept)
    assert found.fit is not None
    assert found.ended_early is None
    errors = sweep_fit.recovery(sweep_fit.SPECS[0], found.fit)
    assert errors == {name: pytest.approx(0, abs=0.15) for name in ("a", "b", "d", "e", "knee")}
    assert {one.step.length for one in found.judged if one.saturated} == {128, 2_048}  # it was driven to its limit


def test_when_the_time_is_up_what_was_measured_is_still_fitted() -> None:
    endpoint = EndpointSpec(name="x", ttft_ms=40, tpot_ms=4, slots=8)
    grid = Grid((128, 256, 512, 1_024, 2_048), rates=(2.0,), step_s=5.0, output_tokens=4)

    async def swept(loop: VirtualLoop) -> Swept:
        cells = [Cell(Facts("x", "x"), sweep_fit.TARGET, "ner", (PROMPT,))]
        measure = VirtualEndpoint(endpoint, loop.time).measure
        return await Course(cells, grid, measure, lambda _, __: None, loop.time).run(loop.time() + 20)

    found = run(swept)
    assert found.ended_early == "the time was up"
    assert {one.step.length for one in found.judged} == {128, 256, 512, 1_024}
    assert found.fit is not None
