"""When another attempt may follow: only if LiteLLM asks again by itself, and if nothing happens twice because of it."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest

from slo_router.contract.model import Facts
from slo_router.request.slo import Asked
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, decided

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    from litellm.router import Router

    from slo_router.gateway.rescue.permission import may_be_followed, retries_left

FUNCTION = {"type": "function", "function": {"name": "f"}}
RETRIED = {"metadata": {"attempted_retries": 0, "max_retries": 2, "model_group": "smart"}}

NEVER = {"TimeoutErrorRetries": 0}


def router(**settings: Any) -> Router:
    return Router(model_list=[], **settings)


def trace(**fields: Any) -> Trace:
    made = Trace("acompletion", NOW_S, group="smart", stream=True)
    made.decision = decided([Facts("a", "m")])
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("call", "left"),
    [
        ({}, 0),  # LiteLLM tells nothing
        (RETRIED, 2),
        ({**RETRIED, "num_retries": 0}, 0),  # the deployment's own retries
        ({**RETRIED, "num_retries": 5}, 2),
        ({"litellm_metadata": {"attempted_retries": 2, "max_retries": 2}}, 0),
        ({"metadata": {"attempted_retries": 0, "max_retries": 0}}, 0),
    ],
)
def test_the_retries_that_are_left_are_those_that_litellm_says(call: dict[str, object], left: int) -> None:
    assert retries_left(call, router()) == left


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"retry_policy": NEVER}, 0),
        ({"retry_policy": {"BadRequestErrorRetries": 0}}, 2),
        ({"model_group_retry_policy": {"smart": NEVER}}, 0),
        ({"model_group_retry_policy": {"other": NEVER}}, 2),
        ({"model_group_retry_policy": {"smart": {"TimeoutErrorRetries": 1}}, "retry_policy": NEVER}, 1),
    ],
)
def test_a_retry_policy_counts_the_groups_before_the_routers(settings: dict[str, object], left: int) -> None:
    assert retries_left(RETRIED, router(**settings)) == left


def test_an_ordinary_request_may_be_followed_and_one_in_shadow_or_elsewhere_not() -> None:
    assert may_be_followed(trace(), RETRIED, router())
    assert may_be_followed(trace(), {**RETRIED, "tools": [FUNCTION, {"name": "f", "input_schema": {}}]}, router())
    grouped = {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]}  # Codex's
    assert may_be_followed(trace(), {**RETRIED, "tools": [grouped]}, router())
    assert not may_be_followed(trace(), RETRIED, None)
    for fields in (
        {"decision": None},
        {"is_shadow": True},
        {"tells_nothing": True},
        {"goes_on": True},
        {"repeats": 2},
        {"first_token_s": NOW_S},  # the client has the beginning, so LiteLLM continues the stream
        {"asked": Asked(rescue="off")},
    ):
        assert not may_be_followed(trace(**fields), RETRIED, router()), fields


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [FUNCTION, {"type": "web_search"}]},
        {"tools": [{"type": "mcp", "server_url": "https://x"}]},
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]},
        {"tools": [{"type": "namespace", "name": "n"}]},
        {"web_search_options": {}, "store": True},
        {"background": True},
        {"conversation": "conv_1"},
    ],
)
def test_what_happens_at_the_provider_does_not_happen_twice(body: dict[str, object]) -> None:
    assert not may_be_followed(trace(), {**RETRIED, **body}, router())
