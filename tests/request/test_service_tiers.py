"""Which deployments have the service tier that a request names, at which price; and replay applies it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slo_router.contract.model import Facts, Slo
from slo_router.contract.settings.deployments import read_deployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.explain import reason
from slo_router.decision.foresight import Ask
from slo_router.operator.replay.recorded import decode, features_of
from slo_router.operator.replay.redecision import demand_of
from slo_router.request.service_tiers import in_tier
from tests.shared.builders import REQUEST, view
from tests.shared.record_builders import line_of

SETTLED = GroupSettings(trial_share=0)
MAP = {
    "gpt-5": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 8e-6,
        "input_cost_per_token_flex": 5e-7,
        "output_cost_per_token_flex": 4e-6,
        "input_cost_per_token_priority": 2e-6,
        "output_cost_per_token_priority": 1.6e-5,
        "input_cost_per_token_batches": 1e-7,
        "input_cost_per_token_above_272k_tokens": 2e-6,
        "input_cost_per_token_above_272k_tokens_flex": 1e-6,
    }
}


def facts(name: str, **params: object) -> Facts:
    entry = {"model_name": "g", "litellm_params": {"model": "openai/gpt-5", **params}, "model_info": {"id": name}}
    return read_deployment(entry, "model_list[0]", MAP).facts


PLAIN, FLEX = facts("plain"), facts("flex", service_tier="flex")
OTHER = replace(facts("other"), model="openai/own", in_tiers={})  # no tier of it is known


def test_a_deployment_has_the_prices_of_its_tier() -> None:
    assert (PLAIN.input_usd_per_token, PLAIN.output_usd_per_token, PLAIN.service_tier) == (1e-6, 8e-6, None)
    assert (FLEX.input_usd_per_token, FLEX.output_usd_per_token, FLEX.service_tier) == (5e-7, 4e-6, "flex")
    assert [tier.input_usd for tier in (*PLAIN.tiers, *FLEX.tiers)] == [2e-6, 1e-6]
    assert facts("fast", service_tier="fast").input_usd_per_token == 2e-6  # priced as `priority`
    assert facts("odd", service_tier="batch").input_usd_per_token == 1e-6  # no tier of a chat
    assert PLAIN.in_tiers.keys() == {"flex", "priority"}
    assert PLAIN.in_tiers["flex"].output_usd_per_token == 4e-6
    assert FLEX.in_tiers == {}  # always sent with its own tier


@pytest.mark.parametrize(
    ("named", "having"),
    [
        (None, None),
        (7, None),
        ("flex", {"plain", "flex"}),  # plain is sent as flex then
        ("FLEX", {"plain", "flex"}),
        ("priority", {"plain"}),
        ("auto", {"plain", "other"}),
        ("default", {"plain", "other"}),
        ("ultrafast", None),  # no deployment has it; the provider refuses it
    ],
)
def test_who_has_the_tier_that_a_request_names(named: object, having: set[str] | None) -> None:
    request = {} if named is None else {"service_tier": named}
    assert in_tier(request, [PLAIN, FLEX, OTHER])[1] == having


def test_what_everybody_has_rules_nobody_out() -> None:
    assert in_tier({"service_tier": "auto"}, [PLAIN, OTHER]) == ([PLAIN, OTHER], None)
    candidates, having = in_tier({"service_tier": "flex"}, [PLAIN, FLEX])
    assert having is None
    assert [one.input_usd_per_token for one in candidates] == [5e-7, 5e-7]


def test_another_tier_is_a_capability_that_is_missing_and_a_replay_says_so_too() -> None:
    candidates, having = in_tier({"service_tier": "priority"}, [PLAIN, FLEX])
    decision = decide(Ask(REQUEST, Slo(), in_tier=having), candidates, view(), Policy(SETTLED, "cafe0123"))
    assert (decision.deployment_id, decision.kind) == ("plain", "met")
    assert [(one.deployment_id, one.filter, one.value) for one in decision.rejections] == [
        ("flex", "capability", "service_tier")
    ]
    assert reason(decision) == "cheapest of 1 that meet the SLO"
    recorded = decode(line_of(decision))
    assert recorded.decision is not None
    demand = demand_of(recorded.decision, features_of(recorded, recorded.decision), Slo())
    assert demand.in_tier == {"plain"}
