"""A direct call sends what LiteLLM would send to the deployment. If a field cannot be sent, the call is refused."""

from __future__ import annotations

import os
import warnings

import pytest

from slo_bench.errors import UnreachableError
from slo_bench.measure.targets import Proxy, Target, target_of
from slo_bench.measure.wire import _is_sent
from slo_bench.prompts.workload import Prompt
from slo_router.contract.settings.config import parse_settings
from slo_router.contract.settings.deployments import read_deployment
from tests.shared.particular_server import GOOD, particular

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm
    from litellm.types.router import CredentialLiteLLMParams, GenericLiteLLMParams
    from litellm.types.utils import all_litellm_params

pytestmark = [  # pydantic on LiteLLM's types
    pytest.mark.filterwarnings("ignore:.*ReadOnly:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PROMPT = Prompt("chat", ({"role": "user", "content": "Hi"},), 8)
BASE = "http://gpu:8000/v1"


def entry(info: object = None, **params: object) -> dict[str, object]:
    own = {"model": "openai/qwen", "api_base": BASE, "api_key": "none"} | params
    return {"model_name": "smart", "litellm_params": own, "model_info": {"id": "a", **(info or {})}}  # type: ignore[dict-item]


def target(info: object = None, **params: object) -> Target:
    return target_of(read_deployment(entry(info, **params), "model_list[0]", {}), None)


def test_settings_stand_in_the_body_beneath_the_request_and_extra_body_above() -> None:
    body = target(
        temperature=0.2,
        reasoning_effort="low",
        thinking={"type": "enabled"},
        top_k=20,
        max_tokens=4_000,
        stream=False,
        rpm=10,
        input_cost_per_token=1e-6,
        supports_vision=True,
        timeout=30,
        tags=["x"],
        extra_body={"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5},
    ).body(PROMPT, "")
    messages = body.pop("messages")
    assert messages == PROMPT.salted("")
    assert body == {
        "model": "qwen",
        "temperature": 0.2,
        "reasoning_effort": "low",
        "thinking": {"type": "enabled"},
        "top_k": 5,
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_headers_organization_and_variables_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLO_TEST_TEAM", "blue")
    called = target(
        extra_headers={"X-Team": "os.environ/SLO_TEST_TEAM"}, organization="org-1", langfuse_secret="os.environ/UNSET"
    )
    assert called.headers().items() >= {("X-Team", "blue"), ("OpenAI-Organization", "org-1")}
    assert "blue" not in repr(called)
    assert "blue" in called.secrets()


def test_base_url_is_another_name_of_the_address_and_the_provider_may_stand_apart() -> None:
    called = target(model="Qwen/Qwen2.5-7B", custom_llm_provider="openai", base_url="http://other/v1")
    assert (called.url, called.model) == ("http://other/v1/chat/completions", "Qwen/Qwen2.5-7B")
    assert target(model="openai/x", custom_llm_provider="openai").model == "x"


def test_a_stated_max_completion_tokens_is_the_name_to_use() -> None:
    body = target(max_completion_tokens=500).body(PROMPT, "")
    assert ("max_tokens" in body, body["max_completion_tokens"]) == (False, 8)
    assert "marco" in str(target(model="openai/marco-o1").body(PROMPT, "")["model"])
    assert "max_tokens" in target(model="openai/marco-o1").body(PROMPT, "")


def test_what_litellm_drops_is_dropped() -> None:
    body = target(temperature=0, top_k=3, additional_drop_params=["top_k"]).body(PROMPT, "")
    assert ("top_k" in body, body["temperature"]) == (False, 0)
    assert "temperature" in target(temperature=0, drop_params=True).optional
    assert "temperature" not in target(temperature=0).optional


@pytest.mark.parametrize(
    ("info", "params", "because"),
    [
        ({"mode": "responses"}, {}, "Responses API"),
        ({}, {"model": "openai/responses/gpt-5"}, "Responses API"),
        ({}, {"model": "qwen", "custom_llm_provider": "anthropic"}, "anthropic/qwen is not known to speak"),
        ({}, {"ssl_verify": False}, "because of litellm_params.ssl_verify"),
        ({}, {"supports_system_message": False}, "because of litellm_params.supports_system_message"),
        ({}, {"aws_region_name": "eu-1"}, "because of litellm_params.aws_region_name"),
        ({}, {"prompt_id": "7"}, "because of litellm_params.prompt_id"),
        ({}, {"litellm_credential_name": "in-the-database"}, "because of litellm_params.litellm_credential_name"),
        ({}, {"extra_headers": "X-Team: a"}, "litellm_params.extra_headers: expected a mapping"),
    ],
)
def test_what_a_direct_call_cannot_do_is_refused_with_its_name(
    info: dict[str, object], params: dict[str, object], because: str
) -> None:
    with pytest.raises(UnreachableError, match=because):
        target(info, **params)
    deployment = read_deployment(entry(info, **params), "model_list[0]", {})
    assert target_of(deployment, Proxy("http://proxy")).model == "a"  # which can do it all


def test_what_changes_nothing_is_not_refused() -> None:
    harmless = target(ssl_verify=True, supports_system_message=True, use_litellm_proxy=False, azure_ad_token=None)
    assert harmless.settings == {}


def test_credentials_are_found_by_name_and_the_entrys_own_fields_win() -> None:
    named = entry(litellm_credential_name="shared")
    del named["litellm_params"]["api_base"]  # type: ignore[attr-defined]
    values = {"api_base": "http://shared/v1", "api_key": "theirs", "organization": "org-2"}
    document = {
        "model_list": [named],
        "credential_list": [{"credential_name": "shared", "credential_values": values}, "not one"],
        "callback_settings": {"slo_router": {"groups": {"smart": {}}}},
    }
    (deployment,) = parse_settings(document, {}).deployments
    called = target_of(deployment, None)
    assert (called.url, called.api_key) == ("http://shared/v1/chat/completions", "none")
    assert called.headers()["OpenAI-Organization"] == "org-2"


def test_nothing_that_litellm_keeps_to_itself_is_sent() -> None:
    known = {*all_litellm_params, *GenericLiteLLMParams.model_fields, *CredentialLiteLLMParams.model_fields}
    assert [name for name in sorted(known) if _is_sent(name)] == []


@pytest.mark.parametrize(
    "params",
    [
        {"model": "openai/qwen", "temperature": 0.2, "top_p": 0.9, "top_k": 20, "organization": "org-1"},
        {"model": "openai/qwen", "extra_body": {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 1}},
        {"model": "openai/qwen", "headers": {"X-A": "a"}, "extra_headers": {"X-B": "b"}, "rpm": 7, "weight": 2},
        {"model": "openai/gpt-5", "reasoning_effort": "low"},
        {"model": "openai/o3-mini", "reasoning_effort": "low"},
        {"model": "hosted_vllm/qwen", "top_k": 20, "min_p": 0.1, "input_cost_per_token": 1e-6},
        {"model": "qwen", "custom_llm_provider": "openai", "seed": 1, "stop": ["x"]},
        {"model": "mistral/mistral-small", "temperature": 0.1},
        {"model": "fireworks_ai/q", "temperature": 0.3},
        {"model": "deepseek/deepseek-chat", "temperature": 0.3},
    ],
    ids=lambda params: str(params["model"]),
)
def test_litellm_itself_sends_the_same(params: dict[str, object]) -> None:
    with particular(lambda _: GOOD) as server:
        called = target(**params, api_base=server.api_base)
        stream = litellm.completion(
            **{"api_key": "none", "api_base": server.api_base, **params},
            messages=PROMPT.salted(""),
            max_tokens=PROMPT.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        assert list(stream)
    (asked,) = server.requests
    ours, theirs = called.body(PROMPT, ""), asked.body
    assert {**ours, "stream_options": None} == {**theirs, "stream_options": None}  # left out where it may be refused
    assert {name: asked.headers.get(name.lower()) for name in called.extra_headers} == called.extra_headers
