"""Decisions use LiteLLM's own prices: its calculator gives them when a deployment is read, for every kind of token."""

from __future__ import annotations

import asyncio
import os
import random
import warnings
from collections.abc import Mapping

import pytest

from slo_router.contract.model import Facts
from slo_router.contract.prices import ANSWER_KINDS, PROMPT_KINDS, cost_usd
from slo_router.contract.settings.deployments import read_deployment

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm

    from evaluation.routing.price_map.answers import usages
    from evaluation.routing.price_map.forms import of_forms
    from evaluation.routing.price_map.sides import GOOD, compare, finish
    from slo_router.gateway import billing
    from slo_router.gateway.billing import LAST_S, Bills, as_billed

    litellm.suppress_debug_info = True

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own

Fields = Mapping[str, object]


def entry_of(model: str, **params: object) -> dict[str, object]:
    return {"model_name": "g", "litellm_params": {"model": model, **params}, "model_info": {"id": "one"}}


def billed(model: str, **params: object) -> Facts:
    entry = entry_of(model, **params)
    return finish(as_billed(entry, read_deployment(entry, "model_list[0]", litellm.model_cost).facts))


def test_every_form_of_a_deployment_costs_what_litellm_bills() -> None:
    found = asyncio.run(of_forms(4, seed=2))
    odd = [one for one in found if one.verdict(one.proxy_usd) not in GOOD]
    assert {one.model for one in odd} <= {"openai/own cost_margin_config"}, odd  # a margin on what has no price
    assert sum(one.verdict(one.proxy_usd) == "equal" for one in found) > len(found) / 2


def test_the_commands_know_the_discounts_and_margins_that_litellm_applies() -> None:
    found = [one for one in asyncio.run(of_forms(4, seed=2)) if one.asked.is_text]
    odd = {one.model for one in found if one.verdict(one.commands_usd) not in GOOD}
    by_region, own_cached = ("vertex_ai/", "bedrock/"), "gemini/gemini-2.5-pro ("  # only LiteLLM itself knows these
    odd = {name for name in odd if not name.startswith((*by_region, own_cached))}
    assert odd <= {"openai/own cost_margin_config"}  # a margin on what has no price


@pytest.mark.parametrize(
    "model",
    [
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "anthropic"),  # cache writes, also for an hour
        ("gemini/gemini-2.5-flash", "gemini-2.5-flash", "gemini"),  # audio
        ("openai/gpt-5.4", "gpt-5.4", "openai"),  # dearer above 272,000, and other tiers
        ("dashscope/qwen3-max", "qwen3-max", "dashscope"),  # listed by ranges
        ("perplexity/sonar-deep-research", "sonar-deep-research", "perplexity"),  # reasoning
    ],
)
@pytest.mark.parametrize("tier", [None, "flex", "priority"])
def test_models_of_the_map_cost_what_litellm_bills(model: tuple[str, str, str], tier: str | None) -> None:
    asked = usages(random.Random(1), [32_000, 128_000, 200_000, 272_000], 12)
    found = list(compare(litellm.model_cost, model, tier, asked))
    assert [one for one in found if one.verdict(one.proxy_usd) != "equal"] == []


def test_each_kind_of_token_has_its_price() -> None:
    facts = billed("anthropic/claude-sonnet-4-5")
    plain = cost_usd(facts, 10_000, 1_000)
    extra = {kind: cost_usd(facts, 10_000, 1_000, kinds={kind: 100}) for kind in (*PROMPT_KINDS, *ANSWER_KINDS)}
    assert plain == pytest.approx(0.045)
    assert extra["written"] == pytest.approx(0.045 + 100 * 0.75e-6)
    assert extra["written_1h"] == pytest.approx(0.045 + 100 * 3e-6)
    assert extra["reasoning"] == plain
    assert cost_usd(facts, 10_000, 1_000, 100) == pytest.approx(0.045 - 100 * 2.7e-6)


def test_who_cannot_be_asked_keeps_the_prices_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(billing, "Logging", refuse)
    facts = billed("openai/own", input_cost_per_token=1e-6, output_cost_per_token=2e-6)
    assert (facts.input_usd_per_token, facts.output_usd_per_token) == (1e-6, 2e-6)


@pytest.mark.parametrize("model", ["ollama/llama3.1", "github_copilot/gpt-4o", "huggingface/own"])
def test_nobody_is_asked_over_the_network(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billing, "Logging", lambda **_: pytest.fail("asked"))
    assert billed(model).input_usd_per_token is None


def test_what_litellm_bills_at_0_for_want_of_a_price_stays_unknown() -> None:
    litellm.model_cost["openai/half"] = {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-6}
    litellm.model_cost["openai/zero"] = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
    }
    try:
        assert cost_usd(billed("openai/half"), 1_000, 100) is None
        assert cost_usd(billed("openai/zero"), 1_000, 100) is None
        free = billed("openai/zero", input_cost_per_token=0, output_cost_per_token=0)
        assert cost_usd(free, 1_000, 100) == 0.0
    finally:
        del litellm.model_cost["openai/half"], litellm.model_cost["openai/zero"]


def test_prices_are_asked_for_once_and_again_when_they_are_old() -> None:
    now_s = 0.0
    bills = Bills(clock=lambda: now_s)
    entry = entry_of("openai/gpt-5.4")
    read = read_deployment(entry, "model_list[0]", litellm.model_cost).facts
    pauses = 0

    def ask() -> Facts:
        nonlocal pauses
        work, pauses = bills.facts(entry, read), 0
        while True:
            try:
                next(work)
                pauses += 1
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    first = ask()
    assert pauses > 20
    assert ask() is first
    assert (pauses, bills.are_old) == (0, False)
    bills.keep({"another"})
    ask()
    assert pauses > 20
    now_s = LAST_S + 1
    assert bills.are_old
    ask()
    assert pauses > 20
    assert not bills.are_old


def test_a_deployment_without_a_tier_knows_what_each_costs() -> None:
    entry = entry_of("openai/gpt-5")
    read = read_deployment(entry, "model_list[0]", litellm.model_cost).facts
    found = finish(Bills().facts(entry, read))
    standard, flex = cost_usd(found, 1_000, 1_000), cost_usd(found.in_tiers["flex"], 1_000, 1_000)
    priority = cost_usd(found.in_tiers["priority"], 1_000, 1_000)
    assert standard == pytest.approx(0.01125)
    assert flex == pytest.approx(0.01125 / 2)
    assert priority == pytest.approx(0.01125 * 2)
