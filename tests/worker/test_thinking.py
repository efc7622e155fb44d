"""A model that thinks before it answers, and hides it: its first token comes later, the longer it thinks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, NamedTuple

import pytest

from slo_router.contract.model import Prediction
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings, RescueSettings, SloSettings
from slo_router.decision.prediction import outlook
from slo_router.latency.curve import P50
from slo_router.live.circuit import CLOSED
from slo_router.request.slo import SloInputs
from slo_router.rescue.deadline import first_content
from slo_router.worker.records import build_record
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.turns import at_once
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, wire
from tests.worker.test_strategy import SMALL, FakeClock, strategy

Effort = Literal["minimal", "high"]

THOUGHTS: dict[Effort, int] = {"minimal": 0, "high": 500}  # tokens in the mean
PREFILL_S, TPOT_S, SHOWN = 0.2, 0.01, 50
SLO_S = 2.0  # `minimal` keeps it with ease, `high` does not


class World(NamedTuple):
    """One worker and its deployment."""

    made: Strategy
    clock: FakeClock
    rng: random.Random


@pytest.fixture
def world() -> World:
    clock = FakeClock(NOW_S)
    made = strategy(GroupSettings(slo=SloSettings(ttft_ms=SLO_S * 1_000)), clock)
    made.know([ManagedDeployment("smart", SMALL)])
    return World(made, clock, random.Random(5))


def asked(world: World, effort: Effort, **more: object) -> Trace:
    """A streamed request that is under way."""
    trace = Trace("acompletion", world.clock.now_s, stream=True, group="smart")
    world.made.read_request("smart", trace, SloInputs())
    body = {"messages": [{"role": "user", "content": "Hi."}], "stream": True, "reasoning_effort": effort, **more}
    assert world.made.choose("smart", body, ["small"], trace) == "small"
    assert world.made.sent(trace, "small")
    return trace


def answer(world: World, effort: Effort, search_s: float = 0.0, offer: Mapping[str, object] = {}) -> None:
    trace, began_s = asked(world, effort, **offer), world.clock.now_s
    thoughts = round(THOUGHTS[effort] * world.rng.lognormvariate(0, 0.2))
    for _ in range(10):
        world.clock.now_s += (PREFILL_S + thoughts * TPOT_S + search_s) / 10
        world.made.watch()
    assert trace.attempt is not None
    trace.attempt.first_token_s = world.clock.now_s
    world.made.watch()
    world.clock.now_s += SHOWN * TPOT_S
    landing, trace.ran_tools = world.made.finish(trace, "success"), search_s > 0
    told = {
        "status": "success",
        "endTime": world.clock.now_s,
        "prompt_tokens": 9,
        "completion_tokens": SHOWN + thoughts,
    }
    record = build_record(told, trace).model_copy(update={"hidden_tokens": thoughts})
    assert record.e2e_ms == pytest.approx((world.clock.now_s - began_s) * 1_000, abs=1)
    world.made.learn(trace, landing, record, is_whole=True)


def served(world: World, requests: int = 80, high: int = 4) -> None:
    """Each `high`th request asks for much thinking."""
    for number in range(1, requests + 1):
        answer(world, "high" if number % high == 0 else "minimal")
        world.made.absorb(())


def predicted(world: World, effort: Effort) -> Prediction:
    trace = asked(world, effort)
    assert trace.decision is not None
    (assessment,) = trace.decision.assessments
    world.made.finish(trace, "released")
    return assessment.prediction


def likely(world: World, effort: Effort) -> float:
    """That the SLO is kept."""
    trace = asked(world, effort)
    world.made.finish(trace, "released")
    assert trace.decision is not None
    features, state = trace.decision.features, world.made.live.states["small"]
    found = outlook(features, trace.slo, state, world.made.answers.lengths(features)["small"])
    assert found is not None
    assert found.probability is not None
    return found.probability


@pytest.mark.parametrize("high", [2, 4, 16])
def test_each_effort_is_predicted_by_the_thoughts_that_it_takes(world: World, high: int) -> None:
    served(world, 20 * high, high)
    few, many = predicted(world, "minimal"), predicted(world, "high")
    assert few.basis == many.basis == "live"
    assert few.ttft_s is not None
    assert many.ttft_s is not None
    assert PREFILL_S < few.ttft_s < SLO_S  # of all answers p95 is 7 s
    assert PREFILL_S + THOUGHTS["high"] * TPOT_S < many.ttft_s < 12
    assert likely(world, "minimal") > 0.9
    assert likely(world, "high") < 0.1


def test_one_that_thinks_is_waited_for(world: World) -> None:
    """Though nineteen of twenty of its requests ask for no thinking."""
    served(world, 100, 20)
    trace, state = asked(world, "high"), world.made.live.states["small"]
    assert trace.decision is not None
    assert trace.attempt is not None
    assert trace.attempt.flight is not None
    found = first_content(trace.decision, trace.attempt.flight, state.fitted, RescueSettings())
    assert found is not None
    assert found.due_s > 1.3 * (PREFILL_S + THOUGHTS["high"] * TPOT_S)
    few = asked(world, "minimal")
    assert few.decision is not None
    assert few.attempt is not None
    assert few.attempt.flight is not None
    sooner = first_content(few.decision, few.attempt.flight, state.fitted, RescueSettings())
    assert sooner is not None
    assert sooner.due_s < found.due_s / 2


def test_requests_that_are_thought_about_are_no_sign_of_a_slower_deployment(world: World) -> None:
    served(world, 80, 8)
    flights = [asked(world, "high") for _ in range(4)]
    world.clock.now_s += PREFILL_S + THOUGHTS["high"] * TPOT_S  # as long as they usually take
    world.made.watch()
    state = world.made.live.states["small"]
    assert state.circuit == CLOSED
    assert state.curve is state.fitted
    for trace in flights:
        world.made.finish(trace, "released")


def test_another_worker_hears_of_it(world: World) -> None:
    served(world)
    other = World(strategy(world.made.groups["smart"].settings, world.clock), world.clock, world.rng)
    other.made.know([ManagedDeployment("smart", SMALL)])
    other.made.absorb([wire(at_once(world.made.export()))])
    curves = [one.made.live.states["small"].curve for one in (world, other)]
    assert curves[0] is not None
    assert curves[1] is not None
    assert curves[1].thought_s_per_token == pytest.approx(curves[0].thought_s_per_token, rel=0.05)
    assert curves[1].thought_s_per_token == pytest.approx(TPOT_S, rel=0.3)
    assert curves[1].ttft_ratios[P50] == pytest.approx(1, rel=0.3)


SEARCHES: list[dict[str, object]] = [
    {"web_search_options": {"search_context_size": "low"}},
    {"tools": [{"type": "web_search"}]},
]


@pytest.mark.parametrize("offer", SEARCHES, ids=["always", "at times"])
def test_one_that_searches_before_its_first_token_teaches_nothing_of_the_others(
    world: World, offer: dict[str, object]
) -> None:
    for number in range(40):
        answer(world, "minimal")
        world.made.absorb(())
        if number % 4 == 3:
            answer(world, "minimal", 10.0, offer)
            world.made.absorb(())
    found = predicted(world, "minimal").ttft_s
    assert found is not None
    assert found < SLO_S


def test_who_usually_searches_first_makes_nobody_seem_slow_meanwhile(world: World) -> None:
    served(world, 20, 100)
    trace = asked(world, "minimal", **SEARCHES[0])
    world.clock.now_s += 10
    world.made.watch()
    state = world.made.live.states["small"]
    assert state.curve is state.fitted
    world.made.finish(trace, "released")


def test_one_that_offers_a_search_and_makes_none_teaches_as_any_other(world: World) -> None:
    for _ in range(40):
        answer(world, "minimal", 0.0, SEARCHES[1])
        world.made.absorb(())
    assert predicted(world, "minimal").basis == "live"
