"""How to call a deployment: directly at its own endpoint, or through the proxy by its deployment id.

A direct call measures only the model server, but speaks only the OpenAI protocol. It sends what LiteLLM would send for
these `litellm_params` (`wire`). Through the proxy every provider can be measured: its router takes `model: <deployment
id>` for exactly that deployment. Fallbacks, retries and cache are off for such a call. The proxy's own time is included
in the measurement.

Keys and addresses are kept out of every representation, so that no report or traceback shows them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from slo_bench.errors import BenchError, UnreachableError
from slo_bench.measure.stream import Sample
from slo_bench.measure.wire import LENGTH_NAMES, Wire, wire_of
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import TEXT
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.environment import resolve_environment

_PROXY_OPTIONS: Mapping[str, object] = {"disable_fallbacks": True, "cache": {"no-cache": True, "no-store": True}}
_OPTIONAL = frozenset({"stream_options"})  # without it a server may still send the usage; if not, tokens are unknown
_PROXY_HEADERS: Mapping[str, str] = {"x-litellm-num-retries": "0"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment's requests go. `answered_by`: the deployment id that the proxy must report.

    `settings` are configured fields of the body, which the agent's own fields override. `extra_body` are configured
    fields that override the agent's. `optional` fields may be left out if the server refuses them. `without` fields are
    left out.
    """

    deployment_id: str
    model: str
    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    answered_by: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Mapping[str, object] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, object] = field(default_factory=dict, repr=False)
    length_name: str = LENGTH_NAMES[0]
    optional: frozenset[str] = _OPTIONAL
    without: frozenset[str] = frozenset()

    @property
    def is_proxied(self) -> bool:
        """Whether it is called through the proxy."""
        return "disable_fallbacks" in self.options

    def headers(self) -> dict[str, str]:
        """The request's headers."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Accept": "text/event-stream", "Cache-Control": "no-store", **key, **self.extra_headers}

    def body(self, prompt: Prompt, salt: str) -> dict[str, object]:
        """The request's JSON: streamed, with usage, the prompt salted."""
        body = {
            **self.settings,
            "model": self.model,
            "messages": prompt.salted(salt),
            self.length_name: prompt.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": list(prompt.tools)} if prompt.tools else {}),
            **({"response_format": prompt.response_format} if prompt.response_format else {}),
            **self.options,
            **self.extra_body,
        }
        return {name: value for name, value in body.items() if name not in self.without}

    def secrets(self) -> list[str]:
        """Values that no report may show: key, address, and the values of the deployment's own headers."""
        parts = urlsplit(self.url)
        own = [self.api_key, self.url, parts.netloc, parts.hostname, *self.extra_headers.values()]
        return [secret for secret in own if secret]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running LiteLLM proxy. The key must be allowed to call deployments by id; the master key is."""

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise BenchError("--via-proxy: expected the proxy's address, such as http://localhost:4000")


Measure: TypeAlias = Callable[[Target, Prompt], Awaitable[Sample]]  # one request, and what came of it


def target_of(deployment: ManagedDeployment, proxy: Proxy | None) -> Target:
    """How to call a deployment. Raises UnreachableError, with advice, where it makes no text or has no direct call."""
    if TEXT in deployment.facts.unsupported:
        raise UnreachableError(f"model_info.mode: {deployment.mode} makes no text, and prompts ask for some")
    return _direct(deployment) if proxy is None else _via(proxy, deployment.facts.deployment_id)


def proxied(proxy: Proxy, model: str) -> Target:
    """The target of any model name that the proxy knows, whichever deployment answers."""
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
    wire = wire_of(deployment)
    try:
        base, key = resolve_environment(deployment.api_base), resolve_environment(deployment.api_key)
    except ValueError as error:
        raise UnreachableError(f"litellm_params: expected {error}") from error
    if not base:
        raise UnreachableError("litellm_params.api_base is missing; set it or use --via-proxy URL")
    if not base.startswith(("http://", "https://")):
        raise UnreachableError("litellm_params.api_base: expected an http:// or https:// address")
    return _wired(Target(deployment.facts.deployment_id, wire.model, _endpoint(base), key), wire)


def _wired(target: Target, wire: Wire) -> Target:
    return replace(
        target,
        extra_headers=wire.headers,
        settings=wire.settings,
        extra_body=wire.extra_body,
        length_name=wire.length_name,
        optional=target.optional | wire.optional,
        without=wire.without,
    )


def _endpoint(base: str) -> str:
    return base.rstrip("/") + "/chat/completions"
