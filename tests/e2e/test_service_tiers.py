"""One model, listed twice: at the usual tier, and at the service tier `flex`, which costs half and is slower.

gpt-5        first token after 30 ms      LiteLLM's price of gpt-5
gpt-5-flex   first token after 600 ms     LiteLLM's price of gpt-5 at the tier `flex`
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import Stack, document, publish_one, refreshed

TTFT_MS = {"gpt-5": 30.0, "gpt-5-flex": 600.0}
USD = 1.25e-6, 1e-5  # per token of prompt and answer, in LiteLLM's price map
MARGIN = 1.1  # LiteLLM adds it to every bill
LOOSE: dict[str, Any] = {"x_slo_ttft_ms": "5000"}
TIGHT: dict[str, Any] = {"x_slo_ttft_ms": "300"}


def usd(prompt_tokens: int | None, answer_tokens: int | None) -> float:
    """The cost at LiteLLM's list price."""
    assert prompt_tokens
    assert answer_tokens
    return prompt_tokens * USD[0] + answer_tokens * USD[1]


def deployment(handle: Handle, name: str, **params: object) -> dict[str, object]:
    server = {"model": "openai/gpt-5", "api_base": handle.api_base, "api_key": "none", **params}
    return {"model_name": "smart", "litellm_params": server, "model_info": {"id": name}}


@pytest.fixture(scope="module")
def tiered(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    specs = [EndpointSpec(name=name, ttft_ms=ttft_ms, tpot_ms=1, output_tokens=24) for name, ttft_ms in TTFT_MS.items()]
    directory: Path = tmp_path_factory.mktemp("tiers")
    with running_endpoints(specs) as handles:
        plain, flex = handles
        listed = [deployment(plain, "gpt-5"), deployment(flex, "gpt-5-flex", service_tier="flex")]
        settings = document([], valkey.url, refresh_interval_s=Stack.refresh_interval_s, key_prefix="tiers:")
        settings["model_list"] = listed
        settings["callback_settings"]["slo_router"]["groups"] = {"smart": {"trial_share": 0}}  # type: ignore[index]
        settings["litellm_settings"] |= {"cost_margin_config": {"openai": MARGIN - 1}}  # type: ignore[operator]
        client = redis.Redis.from_url(valkey.url)
        for name, ttft_ms in TTFT_MS.items():
            publish_one(client, "tiers:", name, "small", {"ttft_ms": ttft_ms, "tpot_ms": 1.0, "throughput_tps": 900.0})
        with StockProxy(settings, directory) as proxy:
            refreshed(proxy, client, "tiers:")
            running = Stack(proxy, valkey, dict(zip(TTFT_MS, handles, strict=True)), time.time(), prefix="tiers:")
            running.ask()  # the first request of a worker is slow
            yield running


@pytest.fixture
def stack(tiered: Stack) -> Stack:
    for handle in tiered.endpoints.values():
        handle.reset()
    return Stack(tiered.proxy, tiered.valkey, tiered.endpoints, time.time(), prefix="tiers:")


def chosen(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-slo-selected-model"]


def test_a_loose_deadline_buys_the_cheap_tier_and_a_tight_one_the_fast(stack: Stack) -> None:
    loose, tight = stack.ask(**LOOSE), stack.ask(**TIGHT)

    assert (chosen(loose), chosen(tight)) == ("gpt-5-flex", "gpt-5")
    assert (loose.headers["x-slo-decision"], tight.headers["x-slo-decision"]) == ("met", "met")
    seen = {name: ["service_tier" in one.body_keys for one in end.seen()] for name, end in stack.endpoints.items()}
    assert seen == {"gpt-5": [False], "gpt-5-flex": [True]}


def test_each_is_expected_to_cost_what_litellm_bills_for_it(stack: Stack) -> None:
    stack.ask(**LOOSE)
    stack.ask(**TIGHT)
    stack.ask(body={"service_tier": "priority"}, **LOOSE)

    times = {"gpt-5-flex": 0.5, "gpt-5": 1.0, "gpt-5 by priority": 2.0}
    found = {"gpt-5-flex", "gpt-5", "gpt-5 by priority"}
    for record in map(RequestRecord.model_validate, stack.records(3)):
        decision: dict[str, Any] = record.decision or {}
        name = f"{record.deployment}{' by priority' if decision['rejections'] else ''}"
        found.remove(name)
        factor = times[name] * MARGIN
        predicted = next(one["predicted"] for one in decision["candidates"] if one["deployment"] == record.deployment)
        expected = usd(decision["estimated_prompt_tokens"], predicted["output_tokens"]) * factor
        assert predicted["cost_usd"] == pytest.approx(expected)
        assert record.cost_usd == pytest.approx(usd(record.prompt_tokens, record.completion_tokens) * factor)
    assert not found


@pytest.mark.parametrize(
    ("tier", "goes_to", "without_it"),
    [
        ("flex", {"gpt-5", "gpt-5-flex"}, set()),  # LiteLLM sends the request's tier to both, so both cost the same
        ("priority", {"gpt-5"}, {"gpt-5-flex"}),
        ("default", {"gpt-5"}, {"gpt-5-flex"}),
        ("auto", {"gpt-5"}, {"gpt-5-flex"}),
    ],
)
def test_a_request_that_names_a_tier_gets_only_who_has_it(
    stack: Stack, tier: str, goes_to: set[str], without_it: set[str]
) -> None:
    answer = stack.ask(body={"service_tier": tier}, **LOOSE)

    assert chosen(answer) in goes_to
    assert answer.headers["x-slo-decision"] == "met"
    (record,) = stack.records(1)
    decision = RequestRecord.model_validate(record).decision
    assert decision is not None
    rejected = {(one["deployment"], one["value"]) for one in decision["rejections"]}  # type: ignore[attr-defined]
    assert rejected == {(name, "service_tier") for name in without_it}
