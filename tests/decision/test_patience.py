"""A request waits for the first deployment that has room, as long as its SLO allows."""

from __future__ import annotations

import pytest

from slo_router.contract.model import Facts, Limits, Rejection, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.patience import MOST_WAIT_S, Waiting, room_in_s
from slo_router.decision.relaxation import KEPT, is_full
from slo_router.live.live import Live
from tests.shared.builders import NOW_S, REQUEST, view

CHEAP = Facts("cheap", "m", None, None, 1e-7, 1e-7, quality={"default": 0.5})
DEAR = Facts("dear", "m", None, None, 1e-6, 1e-6, quality={"default": 0.9})
POLICY = Policy(GroupSettings(trial_share=0), "cafe0123")
ARRIVED = Waiting(NOW_S, 0.0, stream=True)


def full(**until_s: float) -> Live:
    """Workers' state in which each of these deployments is full until then."""
    live = Live()
    for name, wait_s in until_s.items():
        live.ended(live.dispatched(name, NOW_S), "full", NOW_S, wait_s)
    return live


def test_a_full_one_is_passed_over_and_the_next_answers() -> None:
    decision = decide(Ask(REQUEST, Slo()), [CHEAP, DEAR], view(live=full(cheap=5.0).states), POLICY)
    assert decision.deployment_id == "dear"
    assert decision.kind == "met"
    assert [(one.deployment_id, one.filter) for one in decision.rejections] == [("cheap", "quota")]
    assert not is_full(decision)


@pytest.mark.parametrize(
    ("slo", "stream", "waited_s", "expected"),
    [
        (Slo(), True, 0.0, 3.0),
        (Slo(ttft_s=4.0), True, 0.0, 3.0),
        (Slo(ttft_s=2.0), True, 0.0, None),
        (Slo(ttft_s=2.0), False, 0.0, 3.0),  # an answer in one piece has no visible first token
        (Slo(e2e_s=2.0), False, 0.0, None),
        (Slo(), True, MOST_WAIT_S - 2, None),
    ],
)
def test_where_all_are_full_it_waits_for_the_first_if_its_slo_allows(
    slo: Slo, stream: bool, waited_s: float, expected: float | None
) -> None:
    live = full(cheap=5.0, dear=3.0)
    decision = decide(Ask(REQUEST, slo), [CHEAP, DEAR], view(live=live.states), POLICY)
    assert is_full(decision)
    found = room_in_s(decision, Waiting(NOW_S, waited_s, stream), live.states, NOW_S)
    assert found == (None if expected is None else pytest.approx(expected))


def test_nobody_waits_for_one_that_could_not_take_the_request_anyway() -> None:
    live = full(cheap=1.0, dear=8.0)
    decision = decide(Ask(REQUEST, Slo(min_quality=0.8)), [CHEAP, DEAR], view(live=live.states), POLICY)
    assert room_in_s(decision, ARRIVED, live.states, NOW_S) == pytest.approx(8.0)


def nearly_used_up() -> Live:
    live = Live()
    live.allow("cheap", Limits(rpm=100))
    for _ in range(92):
        live.finished(live.dispatched("cheap", NOW_S), "success", NOW_S)
    return live


def test_the_last_of_a_quota_is_kept_for_requests_that_no_other_serves_as_asked() -> None:
    world = view(live=nearly_used_up().states)
    flexible = decide(Ask(REQUEST, Slo()), [CHEAP, DEAR], world, POLICY)
    assert flexible.deployment_id == "dear"
    assert Rejection("cheap", "quota", KEPT, "room") in flexible.rejections
    inflexible = decide(Ask(REQUEST, Slo(cost_per_1k_usd=0.0002)), [CHEAP, DEAR], world, POLICY)
    assert inflexible.deployment_id == "cheap"
    assert inflexible.kind == "met"
