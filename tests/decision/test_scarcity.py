"""A crowded deployment that turns requests away has a shadow price. Requests that can go elsewhere leave it."""

from __future__ import annotations

import pytest

from slo_router.contract.model import LEVELS, UNLIMITED, Decision, Facts, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.explain import as_json, headers
from slo_router.decision.foresight import Ask
from slo_router.decision.picking import HOPE
from slo_router.latency.curve import Curve
from slo_router.live.live import Live
from slo_router.live.scarcity import LASTS_S, PLENTY, tariff, turned_away, would_leave
from slo_router.operator.replay.again import decided_again
from slo_router.worker.learning.lessons import Lessons
from tests.shared.builders import NOW_S, REQUEST, absorb, told_by, view
from tests.shared.record_builders import read_back

CHEAP = Facts("cheap", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6)
DEAR = Facts("dear", "l", input_usd_per_token=4e-6, output_usd_per_token=4e-6)
STEADY = tuple(1 + level / 100 for level in LEVELS)  # hardly any spread
CURVE = Curve(0.1, 0.0, 0.0, 0.01, 0.0, STEADY, STEADY, 100.0, NOW_S, k_s_per_request=0.1, knee=4.0)
SWEPT = CURVE._replace(is_swept=True)
FREE = Slo(ttft_s=1.5)  # may go to either
BOUND = Slo(ttft_s=0.5, cost_per_1k_usd=0.002)  # can't pay for the dear one
PATIENT = Slo(ttft_s=1.5, cost_per_1k_usd=0.002)
POLICY = Policy(GroupSettings(trial_share=0.0), "p")


def world(load: int) -> Live:
    """`load` requests at the cheap deployment. Beyond 4, each waits for 0.1 s more than the one before."""
    live = Live()
    for name in ("cheap", "dear"):
        live.state(name).curve = live.state(name).fitted = CURVE
    for _ in range(load):
        live.dispatched("cheap", NOW_S)
    return live


def decision(live: Live, slo: Slo) -> Decision:
    return decide(Ask(REQUEST, slo), [CHEAP, DEAR], view(live=live.states), POLICY)


def see(live: Live, *slos: Slo) -> None:
    """Decides these requests and learns from the decisions."""
    for slo in slos:
        Lessons(live).see_scarcity(decision(live, slo), NOW_S)


def test_who_has_another_way_leaves_the_place_to_those_who_have_none() -> None:
    live = world(12)
    assert decision(live, FREE).deployment_id == "cheap"

    see(live, BOUND, FREE)

    assert decision(live, FREE).deployment_id == "dear"
    assert decision(live, PATIENT).deployment_id == "cheap"


def test_the_price_is_no_cost_and_the_record_has_it() -> None:
    live = world(12)
    before = decision(live, FREE)
    see(live, BOUND, FREE)
    found = decision(live, FREE)

    by_name = {one.deployment_id: one for one in found.assessments}
    assert {name: one.shadow_usd > 0 for name, one in by_name.items()} == {"cheap": True, "dear": False}
    assert by_name["cheap"].prediction == before.assessments[0].prediction
    assert headers(found)["x-slo-predicted-cost-usd"] == f"{by_name['dear'].prediction.cost_usd:g}"
    assert "scarce places priced" in headers(found)["x-slo-reason"]
    assert [one.get("shadow_usd", 0.0) for one in as_json(found)["candidates"]] == [  # type: ignore[attr-defined]
        one.shadow_usd for one in found.assessments
    ]


@pytest.mark.parametrize("load", [0, 3, 8])
def test_well_below_the_load_at_which_somebody_was_turned_away_nothing_is_asked(load: int) -> None:
    crowded, calm = world(12), world(load)
    see(crowded, BOUND, FREE)
    calm.states["cheap"].tariff = crowded.states["cheap"].tariff

    found = decision(calm, FREE)

    assert found.deployment_id == "cheap"
    assert not any(one.shadow_usd for one in found.assessments)


@pytest.mark.parametrize(
    "slos",
    [
        (FREE, FREE),  # no request was turned away
        (BOUND, PATIENT),  # no request could leave
        (Slo(ttft_s=0.01, cost_per_1k_usd=0.002), FREE),  # not even an idle one is fast enough: no matter of load
        (Slo(ttft_s=0.5), FREE),  # the dear deployment takes it
    ],
)
def test_where_nothing_is_scarce_there_is_no_price(slos: tuple[Slo, ...]) -> None:
    live = world(12)
    see(live, *slos)
    assert live.states["cheap"].tariff is None
    assert not any(one.shadow_usd for one in decision(live, FREE).assessments)


def test_a_request_that_would_probably_miss_its_slo_takes_no_scarce_place() -> None:
    live, hopeless = world(12), Slo(ttft_s=0.5, cost_per_1k_usd=0.002)
    assert (decision(live, hopeless).probability or 0.0) < HOPE
    see(live, BOUND, FREE)
    assert decision(live, hopeless).deployment_id == "dear"


def test_the_price_is_there_before_a_place_that_a_sweep_knows_to_be_scarce_is_taken() -> None:
    """Up to 4 in flight, all are served. Beyond 4, each waits for 0.1 s."""
    live = world(4)
    live.states["cheap"].curve = SWEPT
    assert decision(live, BOUND).kind == "met"

    see(live, BOUND, FREE)

    assert decision(live, FREE).deployment_id == "dear"
    assert decision(live, BOUND).deployment_id == "cheap"


@pytest.mark.parametrize(
    ("load", "curve", "slo"),
    [
        (2, SWEPT, BOUND),  # half of it is free
        (4, SWEPT, FREE),  # the request can go elsewhere
        (4, SWEPT._replace(k_s_per_request=0.001), BOUND),  # later requests hardly wait
        (4, CURVE, BOUND),  # there was no sweep
    ],
)
def test_a_place_is_not_taken_for_scarce_while_nobody_will_miss_it(load: int, curve: Curve, slo: Slo) -> None:
    live = world(load)
    live.states["cheap"].curve = curve
    see(live, slo, FREE)
    assert live.states["cheap"].tariff is None


def test_who_is_refused_for_want_of_quota_is_turned_away() -> None:
    """The deployment may have 4 requests at once. Any other is served only by the one that it cannot pay for."""
    live = world(4)
    live.allow("cheap", UNLIMITED._replace(at_once=4))
    found = decision(live, BOUND)
    assert [one.filter for one in found.rejections] == ["quota"]

    Lessons(live).see_scarcity(found, NOW_S)

    assert live.states["cheap"].scarcity.load == 4


def test_all_workers_ask_the_same_once_they_heard_of_it_and_it_lapses() -> None:
    one, other = world(12), world(12)
    see(one, BOUND, FREE)
    absorb(other, [told_by(one)], {}, NOW_S)
    assert other.states["cheap"].tariff == one.states["cheap"].tariff

    see(other, FREE)
    absorb(one, [told_by(other)], {}, NOW_S)
    for live in (one, other):
        live.watch(NOW_S + LASTS_S + 1)
        assert live.states["cheap"].tariff is None
        assert not live.states["cheap"].is_scarce


def test_those_leave_first_who_lose_least_by_it() -> None:
    seen = turned_away(PLENTY, 10, NOW_S)
    for usd_per_s in (0.001, 0.01, 0.1):
        seen = would_leave(seen, usd_per_s, 3.0, NOW_S)
    found = tariff([seen], NOW_S)
    assert found is not None
    prices = [found.usd_per_s(load) for load in (6.9, 7.9, 8.9, 9.9, 30)]
    assert prices[0] == 0
    assert prices[1:] == sorted(prices[1:])
    for price, loss in zip(prices[1:], (0.001, 0.01, 0.1, 0.1), strict=True):
        assert loss < price < 1.5 * loss


def test_a_recorded_decision_is_made_again_with_the_price_of_then() -> None:
    live = world(12)
    see(live, BOUND, FREE)
    record = read_back(decision(live, FREE))
    assert record.decision is not None
    agrees, said = decided_again(record, record.decision, POLICY.group, {"cheap": CHEAP, "dear": DEAR})
    assert (agrees, said) == (True, "the same")
