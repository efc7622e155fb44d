"""How a deployment is called: directly if it speaks the OpenAI protocol, else through the proxy. No secret shows."""

from __future__ import annotations

import pytest

from slo_bench.errors import BenchError, UnreachableError
from slo_bench.measure.targets import Proxy, target_of
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import TEXT, Facts
from slo_router.contract.settings.deployments import ManagedDeployment

PROMPT = Prompt("chat", ({"role": "user", "content": "Hi"},), 8)


def deployment(
    model: str = "openai/Qwen/Qwen2.5-7B", base: str | None = "http://gpu:8000/v1/", key: str | None = None
) -> ManagedDeployment:
    return ManagedDeployment("smart", Facts("qwen-7b", model), base, key)


@pytest.mark.parametrize("proxy", [None, Proxy("http://proxy:4000", "sk-1")])
def test_what_makes_no_text_is_asked_for_none(proxy: Proxy | None) -> None:
    facts = Facts("voice", "openai/gpt-realtime", unsupported=frozenset({TEXT}))
    with pytest.raises(UnreachableError, match=r"model_info\.mode: realtime makes no text"):
        target_of(ManagedDeployment("smart", facts, "http://gpu:8000/v1", mode="realtime"), proxy)


def test_a_direct_call_goes_to_the_endpoint_with_the_model_name_it_knows() -> None:
    target = target_of(deployment(key="sk-1"), None)
    assert target.url == "http://gpu:8000/v1/chat/completions"
    assert target.headers()["Authorization"] == "Bearer sk-1"
    assert target.body(PROMPT, "5a17") == {
        "model": "Qwen/Qwen2.5-7B",  # without LiteLLM's provider
        "messages": [{"role": "user", "content": "5a17\nHi"}],
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_no_key_means_no_authorization_header() -> None:
    assert "Authorization" not in target_of(deployment(), None).headers()


def test_address_and_key_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLO_TEST_BASE", "https://models.example/v1")
    monkeypatch.setenv("SLO_TEST_KEY", "sk-2")
    target = target_of(deployment(base="os.environ/SLO_TEST_BASE", key="os.environ/SLO_TEST_KEY"), None)
    assert (target.url, target.api_key) == ("https://models.example/v1/chat/completions", "sk-2")


@pytest.mark.parametrize(
    ("unreachable", "reason"),
    [
        (deployment(base=None), "api_base is missing.*--via-proxy"),
        (deployment(base="gpu:8000"), "api_base: expected an http"),
        (deployment(model="anthropic/claude"), "anthropic/claude is not known to speak.*--via-proxy"),
        (deployment(model="gpt-4o"), "gpt-4o is not known to speak"),
        (deployment(key="os.environ/SLO_TEST_UNSET"), "environment variable SLO_TEST_UNSET to be set"),
    ],
)
def test_what_cannot_be_called_directly_says_why(unreachable: ManagedDeployment, reason: str) -> None:
    with pytest.raises(UnreachableError, match=reason):
        target_of(unreachable, None)


def test_the_proxy_is_asked_for_the_deployment_id_and_for_no_other_answer() -> None:
    target = target_of(deployment(model="anthropic/claude", base=None), Proxy("http://localhost:4000", "sk-3"))
    body = target.body(PROMPT, "5a17")
    assert target.url == "http://localhost:4000/chat/completions"
    assert (body["model"], target.answered_by) == ("qwen-7b", "qwen-7b")
    assert (body["disable_fallbacks"], body["cache"]) == (True, {"no-cache": True, "no-store": True})
    assert target.headers()["x-litellm-num-retries"] == "0"


def test_a_proxy_without_scheme_is_refused() -> None:
    with pytest.raises(BenchError, match="--via-proxy: expected"):
        Proxy("localhost:4000")


def test_keys_and_addresses_are_in_no_representation() -> None:
    proxy = Proxy("http://secret-host:4000", "sk-secret")
    shown = f"{proxy!r} {target_of(deployment(), proxy)!r} {target_of(deployment(key='sk-secret'), None)!r}"
    assert "secret" not in shown
    assert "gpu:8000" not in shown
