"""The headline's arithmetic: the operating point comes from validation alone, every side gets the same arrivals.

Also shares of the largest's cost and quality, and documents that the plugin accepts. The study takes half an hour."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from evaluation.emulator import EndpointSpec, running_endpoints
from evaluation.emulator.server import Address
from evaluation.face_off.client import open_client
from evaluation.headline.__main__ import FULL, held_back
from evaluation.headline.figures import Run, answered_by, figures, ratio, spread
from evaluation.headline.play import Arrival, Phase, Seen, arrivals, play
from evaluation.headline.pools import DEFAULT, Recorded, Served, Value, operating_point, recorded
from evaluation.headline.world import GROUP, ONE, REPLICAS, ROUTED, SIDES, capacity_per_s, document, side_endpoints
from evaluation.shared.data import ANSWERS
from evaluation.shared.results import ROOT
from slo_router.contract.settings.config import parse_settings
from slo_router.operator.evaluating.table import Table

NAMES = ("8b", "70b", "405b")
SERVED = [Served(name, name, (1e-7, 1e-7), 100.0, 0.5) for name in NAMES]
CODE, PUZZLE, ODD = "Write a Python function that sorts a list.", "Solve this step by step: why is 7 prime?", "Hm."
PHASE = Phase("usual load", requests=40, rate_per_s=4.0, settle_s=2.0)


def world(prompts: int = 600) -> Recorded:
    """Recorded answers: on code only the largest is right, else the middle one too; the smallest is never right."""
    texts = [(CODE, PUZZLE, PUZZLE, ODD)[i % 4] for i in range(prompts)]
    score = np.array([[0.0, 0.0 if text == CODE else 1.0, 1.0] for text in texts])
    cost = np.tile([0.1, 0.2, 1.0], (prompts, 1))
    # the table's columns stand in another order
    table = Table(("405b", "8b", "70b"), texts, None, score[:, [2, 0, 1]], cost[:, [2, 0, 1]], ())
    return recorded(table, SERVED)


WORLD = world()
POINT = operating_point(WORLD, seed=0, share=0.94)
ROWS = {text: WORLD.prompts.index(text) for text in (CODE, PUZZLE, ODD)}


def run(seen: Sequence[Seen], phase: Phase = PHASE) -> Run:
    return Run(WORLD, POINT, phase, 0.5, seen)


def answered(text: str, deployment: str, at_s: float = 0.0, ttft_s: float = 0.1) -> Seen:
    return Seen(ROWS[text], at_s, 0.0, deployment, at_s + ttft_s, at_s + ttft_s + 1.0)


def test_each_category_takes_the_cheapest_model_that_keeps_the_quality() -> None:
    assert POINT.chosen == {DEFAULT: "70b", "code": "405b", "reasoning": "70b"}
    assert POINT.on_validation.quality >= 0.94
    assert POINT.on_test == pytest.approx(Value(0.25 * 1.0 + 0.75 * 0.2, 1.0), abs=0.02)


def test_floors_are_the_qualities_of_the_chosen_and_above_those_of_the_cheaper() -> None:
    order = {name: i for i, name in enumerate(NAMES)}
    for category, floor in POINT.floors.items():
        for name, qualities in POINT.qualities.items():
            is_cheaper = order[name] < order[POINT.chosen[category]]
            assert (qualities[category] < floor) is is_cheaper, (category, name)


def test_nothing_is_chosen_by_what_test_prompts_show() -> None:
    score = WORLD.score.copy()
    score[POINT.test] = 0.0
    score[POINT.test, 0] = 1.0
    score[POINT.test, -1] = 1.0
    other = operating_point(
        Recorded(WORLD.models, WORLD.prompts, WORLD.categories, score, WORLD.cost_usd), seed=0, share=0.94
    )
    assert (other.qualities, other.floors) == (POINT.qualities, POINT.floors)
    assert other.on_test != POINT.on_test
    assert not set(POINT.test.tolist()) & set(POINT.training.tolist())


def test_every_side_gets_the_same_prompts_at_the_same_instants_and_none_twice_before_all_came() -> None:
    rows = POINT.test.tolist()
    asked = arrivals(PHASE, rows, seed=1)
    assert asked == arrivals(PHASE, rows, seed=1) != arrivals(PHASE, rows, seed=2)
    assert -PHASE.settle_s <= asked[0].at_s < 0 <= asked[-1].at_s < PHASE.seconds
    assert sum(one.at_s >= 0 for one in asked) == PHASE.requests
    many = arrivals(PHASE._replace(requests=1_000), rows, seed=1)
    assert sorted(one.row for one in many[: len(rows)]) == sorted(rows)


def test_cost_and_quality_are_shares_of_the_largests_on_the_same_prompts() -> None:
    found = figures([run([answered(CODE, "405b"), answered(PUZZLE, "70b"), answered(CODE, "70b", at_s=-1.0)])])
    assert (found.cost, found.quality) == (pytest.approx(0.6), 1.0)
    assert found.usd_per_1k == pytest.approx(600.0)
    assert figures([run([answered(CODE, "70b"), answered(PUZZLE, "405b-2")])]).quality == pytest.approx(0.5)


def test_goodput_counts_answers_that_ended_in_the_phase_in_time_and_at_the_floor() -> None:
    seen = [
        answered(PUZZLE, "70b"),
        answered(PUZZLE, "70b", at_s=-0.5),  # sent before the phase, ends in it
        answered(PUZZLE, "70b", ttft_s=0.6),  # late
        answered(CODE, "70b"),  # below the floor
        answered(PUZZLE, "70b", at_s=9.5),  # ends after the phase
        Seen(ROWS[PUZZLE], 1.0, deployment="70b"),  # hung up
        Seen(ROWS[PUZZLE], 1.0, error="HTTP 500"),
    ]
    found = figures([run(seen)])
    assert PHASE.seconds == 10.0
    assert (found.completed_per_s, found.goodput_per_s) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (found.kept, found.unanswered, found.failed) == (
        pytest.approx(2 / 6),
        pytest.approx(1 / 6),
        pytest.approx(1 / 6),
    )
    assert found.ttft_p99_s == pytest.approx(14.0)  # until the client hung up, five seconds after the phase


def test_spreads_and_ratios_are_of_all_repeats_with_their_lowest_and_highest() -> None:
    slow, fast = [answered(PUZZLE, "405b", ttft_s=0.4)], [answered(PUZZLE, "70b", ttft_s=0.1)]
    ours, theirs = [run(fast), run(slow)], [run(slow), run(slow)]
    found = spread(ours, "ttft_p50_s")
    assert (found.value, found.lowest, found.highest) == pytest.approx((0.1, 0.1, 0.4))
    found = ratio(ours, theirs, "cost")
    assert (found.value, found.lowest, found.highest) == pytest.approx((0.6, 0.2, 1.0))
    nothing = [run([Seen(ROWS[CODE], 1.0)]), run(slow)]
    found = ratio(ours, nothing, "goodput_per_s")  # of the second repeat alone
    assert (found.lowest, found.highest) == (1.0, 1.0)
    assert answered_by(ours) == {"70b": 0.5, "405b": 0.5}


def test_nothing_answered_is_not_nothing_paid() -> None:
    found = figures([run([Seen(ROWS[CODE], 1.0)])])
    assert math.isnan(found.cost)
    assert math.isnan(found.usd_per_1k)


def test_a_machine_that_held_the_endpoints_back_is_named() -> None:
    played = {FULL: {ONE: [run([answered(PUZZLE, "405b-1", at_s=float(i)) for i in range(5)])]}}
    assert "idle cores" not in held_back(played, most=0.55)
    assert "idle cores" in held_back(played, most=0.70)


@pytest.mark.parametrize("side", SIDES)
def test_configurations_are_the_plugins_or_litellms_own(side: str) -> None:
    specs = side_endpoints(WORLD, side)
    addresses = [Address(spec.name, "http://127.0.0.1:9", "http://127.0.0.1:9/v1") for spec in specs]
    made = document(WORLD, side, addresses, POINT, ttft_ms=1_000)
    if side != ROUTED:
        assert "callback_settings" not in made
        assert {capacity_per_s(spec) for spec in specs} == {capacity_per_s(side_endpoints(WORLD, ROUTED)[-1])}
        assert len(specs) == {ONE: 1, REPLICAS: 3}[side]
        return
    settings = parse_settings(made, {})
    group = settings.plugin.groups[GROUP]
    assert [group.quality_floor(one) for one in ("code", "unsure")] == [POINT.floors["code"], POINT.floors[DEFAULT]]
    assert settings.plugin.groups.keys() == {GROUP}
    assert [one.facts.quality_for("code") for one in settings.deployments] == [
        POINT.qualities[name]["code"] for name in NAMES
    ]


async def test_what_is_not_answered_when_a_phase_ends_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.headline.play.PATIENCE_S", 0.5)
    phase = Phase("usual load", requests=3, rate_per_s=3.0, settle_s=0.0)
    spec = EndpointSpec(name="405b", ttft_ms=1, tpot_ms=1, output_tokens=4, slots=4)
    prompts = ["one", "two", "three"]
    with running_endpoints([spec]) as (endpoint,):
        async with open_client(endpoint.url, {}, timeout_s=None) as client:
            first = await play(client, phase, [Arrival(0.0, 0)], prompts)
            endpoint.control("hang")
            then = await play(client, phase, [Arrival(0.0, 1), Arrival(0.1, 2)], prompts)
    (one,) = first
    assert one.first_s is not None
    assert one.ended_s is not None
    assert one.sent_s <= one.first_s <= one.ended_s
    assert [(seen.row, seen.first_s, seen.ended_s, seen.error) for seen in then] == [
        (1, None, None, None),
        (2, None, None, None),
    ]


@pytest.mark.slow
@pytest.mark.skipif(not ANSWERS.exists(), reason="the recorded answers are not part of the project")
def test_the_study_runs_small() -> None:
    command = [sys.executable, "-m", "evaluation.headline", "--repeats", "1", "--requests", "8", "--rate", "2"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "usual load: cost" in found
    assert "four times what it serves: completed" in found
