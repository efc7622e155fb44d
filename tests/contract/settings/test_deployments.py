"""A deployment's facts: `litellm_params` before `model_info` before LiteLLM's price map; `None` if none has it."""

from __future__ import annotations

import pytest

from slo_router.contract.model import TEXT, Facts
from slo_router.contract.settings.deployments import (
    ManagedDeployment,
    generated_id,
    group_of,
    price_map,
    read_credentials,
    read_deployment,
    same_servers,
    with_credential,
)
from slo_router.contract.settings.environment import FromBlock
from slo_router.contract.settings.pricing.price_names import PriceMap
from slo_router.errors import SettingsError

PRICES: PriceMap = {
    "gpt-x": {
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "max_input_tokens": 128_000,
        "max_output_tokens": 16_000,
        "supports_vision": False,
    }
}


def read(model: str = "openai/gpt-x", info: object = None, **params: object) -> ManagedDeployment:
    model_info = {"id": "a", **(info if isinstance(info, dict) else {})}
    entry = {"model_name": "smart", "litellm_params": {"model": model, **params}, "model_info": model_info}
    return read_deployment(entry, "model_list[3]", PRICES)


def test_the_price_map_fills_in_what_the_yaml_leaves_out_with_or_without_the_provider() -> None:
    known = Facts("a", "openai/gpt-x", 128_000, 16_000, 2e-6, 8e-6, unsupported=frozenset({"vision"}))
    assert read().facts == known
    assert read("gpt-x").facts.input_usd_per_token == 2e-6


def test_a_stated_field_wins_over_the_price_map_and_params_over_info() -> None:
    facts = read(
        info={"input_cost_per_token": 5e-6, "output_cost_per_token": 6e-6, "max_input_tokens": 4_096},
        input_cost_per_token=1e-6,
        supports_vision=True,
    ).facts
    assert (facts.input_usd_per_token, facts.output_usd_per_token, facts.context_tokens) == (1e-6, 6e-6, 4_096)
    assert facts.unsupported == frozenset()


def test_what_nobody_stated_is_unknown_and_a_stated_zero_is_free() -> None:
    facts = read("openai/own-model").facts
    assert (facts.input_usd_per_token, facts.output_usd_per_token, facts.context_tokens) == (None, None, None)
    assert read(input_cost_per_token=0).facts.input_usd_per_token == 0.0
    assert read(input_cost_per_token=None).facts.input_usd_per_token == 2e-6  # a YAML null says nothing


def test_a_listing_of_zeros_is_unknown_and_its_window_may_be_a_float() -> None:
    zeros = {"input_cost_per_token": 0.0, "output_cost_per_token": 0, "cache_read_input_token_cost": 0}
    listed = {"zero": {"litellm_provider": "openai", "max_input_tokens": 2e6, **zeros}}
    entry = {"model_name": "smart", "litellm_params": {"model": "openai/zero"}, "model_info": {"id": "a"}}
    facts = read_deployment(entry, "model_list[0]", listed).facts
    assert facts == Facts("a", "openai/zero", 2_000_000)
    entry["litellm_params"] |= {"input_cost_per_token": 0, "output_cost_per_token": 0}  # type: ignore[operator]
    facts = read_deployment(entry, "model_list[0]", listed).facts
    assert (facts.input_usd_per_token, facts.output_usd_per_token) == (0.0, 0.0)


def test_a_price_may_be_text_as_yaml_reads_1e_7() -> None:
    assert read(input_cost_per_token="1e-7").facts.input_usd_per_token == 1e-7


def test_the_plugins_own_facts() -> None:
    own = {"quality": 0.7, "gpu_usd_per_hour": 1.01, "metrics_url": "http://a:8000/metrics"}
    facts = read(info={"slo_router": own}).facts
    assert (facts.quality_for("ner"), facts.gpu_usd_per_hour) == (0.7, 1.01)
    assert facts.metrics_url == "http://a:8000/metrics"
    assert read(info={"slo_router": {"quality": {"ner": 0.9}}}).facts.quality_for("chat") is None


def test_a_number_or_a_flag_may_be_text_as_a_variable_gives_it() -> None:
    info = {"max_input_tokens": "32768", "supports_vision": "false", "slo_router": {"quality": "0.7"}}
    facts = read("openai/own", info=info, output_cost_per_token="0.0000002").facts
    assert (facts.context_tokens, facts.output_usd_per_token, facts.quality_for("ner")) == (32_768, 2e-7, 0.7)
    assert facts.unsupported == {"vision"}


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SettingsError) as error:
        read("openai/own", info={"max_input_tokens": "os.environ/CTX"}, input_cost_per_token="os.environ/PRICE")
    price, window = str(error.value).splitlines()
    assert price.startswith(
        "model_list[3].litellm_params.input_cost_per_token: 'os.environ/PRICE', which is not set here"
    )
    assert window.startswith(
        "model_list[3].model_info.max_input_tokens: 'os.environ/CTX', which is not set here, expected"
    )


def test_without_an_id_there_is_litellms_which_follows_every_parameter_and_a_name_that_people_read() -> None:
    def without_id(**params: object) -> ManagedDeployment:
        entry = {"model_name": "smart", "litellm_params": {"model": "openai/org/gpt-x", **params}}
        return read_deployment(entry, "model_list[0]", {})

    found = without_id(api_key="a")
    assert not found.has_own_id
    assert found.facts.deployment_id == without_id(api_key="a").facts.deployment_id
    assert found.facts.deployment_id != without_id(api_key="b").facts.deployment_id
    assert found.facts.name == f"gpt-x~{found.facts.deployment_id[:8]}"
    assert read().facts.name == "a"


def test_what_is_not_set_is_nothing_to_litellm_and_its_id_follows_that() -> None:
    unset = {"model": "x", "api_key": "os.environ/NOT_SET", "extra": {"a": FromBlock("b")}}
    assert generated_id("smart", unset) == generated_id("smart", {"model": "x", "api_key": None, "extra": {"a": None}})


def test_a_teams_model_is_in_the_group_that_its_team_calls() -> None:
    entry = {"model_name": "model_name_t1_5f", "model_info": {"id": "a", "team_public_model_name": "smart"}}
    assert group_of(entry, {"smart"}) == "smart"
    assert group_of(entry, {"other"}) is None


@pytest.mark.parametrize(
    ("info", "lacks"),
    [
        ({"mode": "embedding"}, True),
        ({"mode": "image_generation"}, True),
        ({"mode": "realtime"}, True),
        ({"mode": "evaluation"}, True),
        ({"mode": "batch"}, True),
        ({"mode": "image_generation", "supported_endpoints": ["/v1/chat/completions"]}, False),
        ({"mode": "responses"}, False),
        ({"mode": "completion"}, False),
        ({}, False),
    ],
)
def test_what_makes_no_text_by_its_mode_supports_none(info: dict[str, object], lacks: bool) -> None:
    assert (TEXT in read("openai/own", info=info).facts.unsupported) is lacks


def test_only_a_declared_false_is_unsupported() -> None:
    flags = {
        "supports_function_calling": False,
        "supports_vision": None,
        "supports_response_schema": True,
        "supports_audio_input": False,
    }
    assert read("openai/own", info=flags).facts.unsupported == {"tools", "audio"}


def test_the_key_is_kept_for_the_benchmark_and_never_shown() -> None:
    deployment = read(api_base="http://a:8000/v1", api_key="sk-secret")
    assert (deployment.api_base, deployment.api_key, deployment.group) == ("http://a:8000/v1", "sk-secret", "smart")
    assert "secret" not in repr(deployment)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"slo_router": {"qualty": 1}}, "model_info.slo_router.qualty: unknown key, expected one of quality, gpu_usd_"),
        ({"slo_router": {"quality": 2}}, "model_info.slo_router.quality.default: 2, expected less than or equal to 1"),
        (
            {"slo_router": {"metrics_url": "qwen-7b:8000/metrics"}},
            "model_info.slo_router.metrics_url: 'qwen-7b:8000/metrics', expected an address such as http://qwen-7b:8000",
        ),
        ({"slo_router": {"gpu_usd_per_hour": -1}}, "model_info.slo_router.gpu_usd_per_hour: -1, expected greater"),
        ({"slo_router": 5}, "model_info.slo_router: 5, expected a mapping"),
        ({"input_cost_per_token": "cheap"}, "litellm_params.input_cost_per_token: 'cheap', expected USD per token"),
        ({"output_cost_per_token": -1e-7}, "litellm_params.output_cost_per_token: -1e-07, expected USD per token"),
        ({"output_cost_per_token": float("nan")}, "litellm_params.output_cost_per_token: nan, expected USD per token"),
        ({"output_cost_per_token": 2}, "litellm_params.output_cost_per_token: 2, expected USD per token between 0 and"),
        ({"output_cost_per_token": 10**400}, "litellm_params.output_cost_per_token: 1000"),
        ({"max_input_tokens": 0}, "model_info.max_input_tokens: 0, expected a whole number of tokens above 0"),
        ({"max_input_tokens": "32k"}, "model_info.max_input_tokens: '32k', expected a whole number of tokens above 0"),
        ({"max_output_tokens": True}, "model_info.max_output_tokens: True, expected a whole number of tokens above"),
    ],
)
def test_a_wrong_fact_is_named_with_its_path_its_value_and_what_was_expected(info: object, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(info=info)
    assert str(error.value).startswith(f"model_list[3].{message}")


@pytest.mark.parametrize("entry", [{}, {"litellm_params": 5}, {"litellm_params": {"model": None}}])
def test_an_entry_without_a_model_is_named(entry: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"model_list\[3\]\.litellm_params\.model: missing"):
        read_deployment(entry, "model_list[3]", {})


def test_every_chat_model_of_the_installed_price_map_is_usable() -> None:
    prices = price_map()
    chat = [m for m, known in prices.items() if known.get("mode") == "chat" and known.get("max_input_tokens") != 0]
    assert len(chat) > 1_000
    for model in chat:
        if model != "sample_spec":  # the map's own documentation
            entry = {"model_name": "smart", "litellm_params": {"model": model}, "model_info": {"id": "a"}}
            facts = read_deployment(entry, "model_list[0]", prices).facts
            assert facts.context_tokens is None or facts.context_tokens > 0


def test_everything_else_is_kept_for_who_asks_the_deployment_and_shown_nowhere() -> None:
    found = read(base_url="http://gpu/v1", api_base="http://other/v1", extra_headers={"X-Team": "secret"})
    assert (found.api_base, found.params["extra_headers"]) == ("http://gpu/v1", {"X-Team": "secret"})  # as in LiteLLM
    assert "secret" not in repr(found)
    assert (found.mode, read(info={"mode": "responses"}).mode) == (None, "responses")


def test_a_credential_stands_for_its_values_and_an_unknown_one_for_nothing() -> None:
    listed = [
        {"credential_name": "a", "credential_values": {"api_key": "k", "api_base": "b"}},
        {"credential_name": "b"},
        7,
    ]
    entry = {"litellm_params": {"model": "m", "litellm_credential_name": "a", "api_base": "own"}}
    credentials = read_credentials(listed)
    assert with_credential(entry, credentials) == {"litellm_params": {"model": "m", "api_key": "k", "api_base": "own"}}
    assert with_credential(entry, read_credentials(None)) is entry
    found = read_deployment({"model_name": "smart", **entry}, "model_list[0]", {}, {"smart"}, credentials)
    assert (found.api_base, found.api_key) == ("own", "k")
    assert found.facts.deployment_id == generated_id(
        "smart", entry["litellm_params"]
    )  # LiteLLM's id is of the unchanged entry


def test_deployments_of_one_address_are_one_server_whatever_their_model_and_key() -> None:
    said = {
        "a": read(info={"id": "a"}, api_base="http://gpu:8000/v1", api_key="x"),
        "b": read("hosted_vllm/other", info={"id": "b"}, base_url="http://GPU:8000/v1/"),
        "c": read(info={"id": "c"}, api_base="http://gpu:8001/v1"),
        "d": read(info={"id": "d"}, api_key="x"),  # at the provider's address
        "e": read(info={"id": "e"}, api_key="y"),
    }
    found = same_servers(said.values())
    assert found == {"a": frozenset("b"), "b": frozenset("a"), "c": frozenset()}
