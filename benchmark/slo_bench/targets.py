"""How to call a deployment: directly at its own endpoint, or through the proxy by its deployment id.

Direct calls measure the model server alone, but speak only the OpenAI protocol. Through the proxy every provider that
LiteLLM knows can be measured: its router takes `model: <deployment id>` for exactly that deployment and asks no
strategy. Its fallbacks, retries and cache are switched off for the call, for an answer from elsewhere would be booked
on the wrong deployment. The proxy's own time is part of what is then measured, as it is part of what clients wait for.

Keys and addresses are kept out of every representation, so that no report or traceback shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from slo_bench.errors import BenchError, UnreachableError
from slo_bench.workload import Prompt
from slo_router.deployments import ManagedDeployment
from slo_router.environment import resolve_environment

# LiteLLM's providers that post to `{api_base}/chat/completions` with a bearer key.
# fmt: off
_OPENAI_COMPATIBLE = frozenset({
    "cerebras", "custom_openai", "deepinfra", "deepseek", "docker_model_runner", "fireworks_ai", "groq",
    "hosted_vllm", "litellm_proxy", "llamafile", "lm_studio", "mistral", "nvidia_nim", "openai", "openrouter",
    "perplexity", "sambanova", "together_ai", "xai", "xinference",
})
# fmt: on
_PROXY_OPTIONS: Mapping[str, object] = {"disable_fallbacks": True, "cache": {"no-cache": True, "no-store": True}}
_PROXY_HEADERS: Mapping[str, str] = {"x-litellm-num-retries": "0"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment's requests go. `answered_by`: the id that the proxy must report as the answering one."""

    deployment_id: str
    model: str
    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    answered_by: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """The request's headers."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store", **key, **self.extra_headers}

    def body(self, prompt: Prompt, salt: str) -> dict[str, object]:
        """The request's JSON: streamed, with usage, the prompt salted."""
        return {
            "model": self.model,
            "messages": prompt.salted(salt),
            "max_tokens": prompt.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": list(prompt.tools)} if prompt.tools else {}),
            **({"response_format": prompt.response_format} if prompt.response_format else {}),
            **self.options,
        }


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running LiteLLM proxy. The key must be allowed to call deployments by id; the master key is."""

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise BenchError("--via-proxy: expected the proxy's address, such as http://localhost:4000")


def target_of(deployment: ManagedDeployment, proxy: Proxy | None) -> Target:
    """How to call a deployment. Raises UnreachableError, with the way out, where it cannot be called directly."""
    return _direct(deployment) if proxy is None else _via(proxy, deployment.facts.deployment_id)


def proxied(proxy: Proxy, model: str) -> Target:
    """Any model name that the proxy knows, whichever deployment answers it."""
    return replace(_via(proxy, model), answered_by=None)


def _via(proxy: Proxy, deployment_id: str) -> Target:
    return Target(
        deployment_id,
        model=deployment_id,
        url=_endpoint(proxy.url),
        api_key=proxy.api_key,
        answered_by=deployment_id,
        options=_PROXY_OPTIONS,
        extra_headers=_PROXY_HEADERS,
    )


def _direct(deployment: ManagedDeployment) -> Target:
    provider, _, model = deployment.facts.model.partition("/")
    if provider not in _OPENAI_COMPATIBLE or not model:
        raise UnreachableError(
            f"{deployment.facts.model} is not known to speak the OpenAI protocol; use --via-proxy URL"
        )
    try:
        base, key = resolve_environment(deployment.api_base), resolve_environment(deployment.api_key)
    except ValueError as error:
        raise UnreachableError(f"litellm_params: expected {error}") from error
    if not base:
        raise UnreachableError("litellm_params.api_base is missing; set it or use --via-proxy URL")
    if not base.startswith(("http://", "https://")):
        raise UnreachableError("litellm_params.api_base: expected an http:// or https:// address")
    return Target(deployment.facts.deployment_id, model, _endpoint(base), key)


def _endpoint(base: str) -> str:
    return base.rstrip("/") + "/chat/completions"
