"""Builds the request that LiteLLM makes of `litellm_params` for an OpenAI-compatible server: model, headers and body.

into the headers     extra_headers, headers, organization
into the body        extra_body, which overrides all; every name that is not LiteLLM's own, such as temperature,
                     reasoning_effort or top_k, which the request's own fields override
not sent             prices, limits, routing, timeouts, credentials of loggers (`_KEPT`)
not possible         another protocol, another way to sign, prompts that LiteLLM rewrites (`_REFUSED`): a direct call
                     would measure something else, so it is refused, and the proxy must be used
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from slo_bench.errors import UnreachableError
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.environment import resolve_environment

LENGTH_NAMES = ("max_tokens", "max_completion_tokens")
_NEWER_LENGTH = re.compile(r"(?:^|/)(?:o[134](?:-|$)|gpt-5)")  # OpenAI's reasoning models refuse the older name

_FIREWORKS = "accounts/fireworks/models/"  # Fireworks' short names stand for names that begin with this

# LiteLLM's providers that post to `{api_base}/chat/completions` with a bearer key.
# fmt: off
_OPENAI_COMPATIBLE = frozenset({
    "cerebras", "custom_openai", "deepinfra", "deepseek", "docker_model_runner", "fireworks_ai", "groq",
    "hosted_vllm", "litellm_proxy", "llamafile", "lm_studio", "mistral", "nvidia_nim", "openai", "openrouter",
    "perplexity", "sambanova", "together_ai", "xai", "xinference",
})
_KEPT = frozenset({
    "acompletion", "additional_drop_params", "aembedding", "aimg_generation", "allm_passthrough_route",
    "allow_client_keepalive_override", "allowed_model_region", "allowed_openai_params", "api_base", "api_key",
    "api_version", "async_call", "atext_completion", "attempted_targets", "base_model", "base_url", "budget_duration",
    "cache", "cache_key", "caching", "caching_groups", "client", "client_side_timeout", "complete_response",
    "completion_call_id", "configurable_clientside_auth_params", "context_window_fallback_dict", "cooldown_time",
    "custom_llm_provider", "data_residency", "default_api_key_rpm_limit", "default_api_key_tpm_limit",
    "disable_add_transform_inline_image_block", "drop_params", "enable_json_schema_validation", "enable_prompt_caching",
    "enable_tag_filtering", "extra_body", "extra_headers", "fallback_depth", "fallbacks", "fastest_response",
    "fireworks_forward_user_id", "force_timeout", "guardrails", "headers", "id", "itpm", "keepalive_seconds",
    "log_client_error_tracebacks", "logger_fn", "max_agentic_loops", "max_budget", "max_fallbacks", "max_file_size_mb",
    "max_input_tokens", "max_output_tokens", "max_parallel_requests", "max_retries", "metadata", "mode", "model",
    "model_config", "model_file_id_mapping", "model_info", "model_list", "no-log", "num_retries", "order",
    "organization", "otpm", "output_vector_size", "preset_cache_key", "provider_affinity_header",
    "proxy_server_request", "region_name", "request_timeout", "retry_policy", "retry_strategy", "routing_strategy",
    "rpm", "rust", "search_tool_name", "secret_fields", "self", "shared_session", "silent_model", "stream",
    "stream_chunk_size", "stream_options", "stream_response", "stream_timeout", "stream_timeout_by_service_tier",
    "tag_regex", "tags", "text_completion", "tiered_pricing", "timeout", "timeout_by_service_tier", "tpm", "ttl",
    "turn_off_message_logging", "use_client", "use_in_pass_through", "verbose", "weight", *LENGTH_NAMES,
})
_REFUSED = frozenset({
    "assistant_continue_message", "azure", "bos_token", "bucket_name", "cache_control_injection_points", "client_id",
    "client_secret", "custom_prompt_dict", "default_headers", "ensure_alternating_roles", "eos_token",
    "final_prompt_value", "hf_model_name", "initial_prompt_value", "litellm_credential_name", "litellm_system_prompt",
    "merge_reasoning_content_in_choices", "mock_response", "model_alias_map", "prompt_id", "prompt_variables",
    "provider_specific_header", "roles", "tenant_id", "use_chat_completions_api", "use_litellm_proxy", "use_xai_oauth",
    "user_continue_message", "watsonx_region_name",
})
_DECIDING = frozenset({"custom_llm_provider", "drop_params", "extra_body", "extra_headers", "headers", "organization"})
_UNLESS_TRUE = frozenset({"ssl_verify", "supports_system_message"})  # true is what a direct call does anyway
_KEPT_PREFIXES = (
    "_", "arize_", "auto_router_", "adaptive_router_", "complexity_router_", "quality_router_", "dd_", "gcs_",
    "humanloop_", "langfuse_", "langsmith_", "litellm_", "milvus_", "mock_", "newrelic_", "posthog_", "regional_",
    "s3_", "signoz_", "supports_", "valkey_", "vector_store_", "wandb_", "weave_",
)
_REFUSED_PREFIXES = (
    "anthropic_", "aws_", "azure_", "bedrock_", "github_copilot_", "openai_identity_", "openai_service_", "prompt_",
    "token_exchange_", "vertex_",
)
# fmt: on
_OPENAIS_OWN = frozenset({"prompt_cache_key", "prompt_cache_retention"})  # fields of its protocol, in spite of a prefix


@dataclass(frozen=True, slots=True)
class Wire:
    """The form of a deployment's requests, without address and key. The fields are those of `Target`."""

    model: str
    headers: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, object] = field(repr=False)
    extra_body: Mapping[str, object] = field(repr=False)
    length_name: str
    optional: frozenset[str]
    without: frozenset[str]


def wire_of(deployment: ManagedDeployment) -> Wire:
    """The form of a direct call. Raises UnreachableError with the field if it would differ from LiteLLM's request."""
    try:
        stated = {name: value for name, value in deployment.params.items() if value is not None}
        params = {name: _resolved(value) if _is_used(name) else value for name, value in stated.items()}
    except ValueError as error:
        raise UnreachableError(f"litellm_params: expected {error}") from error
    model = _model(deployment, params)
    _check(params)
    settings = {name: value for name, value in params.items() if _is_sent(name)}
    newer = LENGTH_NAMES[1] in params or _NEWER_LENGTH.search(model) is not None
    return Wire(
        model=model,
        headers=_headers(params),
        settings=settings,
        extra_body=_mapping(params, "extra_body"),
        length_name=LENGTH_NAMES[newer],
        optional=frozenset(settings) if _is_true(params.get("drop_params")) else frozenset(),
        without=_names(params.get("additional_drop_params")),
    )


def _model(deployment: ManagedDeployment, params: Mapping[str, object]) -> str:
    """The model's name as its server knows it."""
    name, custom = deployment.facts.model, params.get("custom_llm_provider")
    if custom and name.partition("/")[0] != custom:
        name = f"{custom}/{name}"
    provider, _, model = name.partition("/")
    if provider not in _OPENAI_COMPATIBLE or not model:
        raise UnreachableError(f"{name} is not known to speak the OpenAI protocol; use --via-proxy URL")
    if deployment.mode == "responses" or model.startswith("responses/"):
        raise UnreachableError(f"{name} is asked by the Responses API (mode: responses); use --via-proxy URL")
    if provider == "fireworks_ai" and not model.startswith("accounts/"):
        return _FIREWORKS + model
    return model


def _check(params: Mapping[str, object]) -> None:
    for name, value in params.items():
        wanted = value not in (False, "", [], {}) and (name in _REFUSED or _has_prefix(name, _REFUSED_PREFIXES))
        if wanted or (name in _UNLESS_TRUE and not _is_true(value)):
            raise UnreachableError(f"use --via-proxy URL because of litellm_params.{name}: LiteLLM alone can do that")


def _is_sent(name: str) -> bool:
    known = name in _KEPT or name in _REFUSED or name in _UNLESS_TRUE
    priced = "_cost" in name or "cost_per" in name
    return not (known or priced or _has_prefix(name, _KEPT_PREFIXES) or _has_prefix(name, _REFUSED_PREFIXES))


def _is_used(name: str) -> bool:
    """Whether a parameter is in the request or changes it. Environment variables of other parameters may be missing."""
    return name in _DECIDING or _is_sent(name)


def _has_prefix(name: str, prefixes: tuple[str, ...]) -> bool:
    return name.startswith(prefixes) and name not in _OPENAIS_OWN


def _headers(params: Mapping[str, object]) -> dict[str, str]:
    organization = params.get("organization")
    named = {"OpenAI-Organization": organization} if organization else {}
    given = {**named, **_mapping(params, "headers"), **_mapping(params, "extra_headers")}
    return {str(name): str(value) for name, value in given.items() if value is not None}


def _mapping(params: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = params.get(name) or {}
    if not isinstance(value, Mapping):
        raise UnreachableError(f"litellm_params.{name}: expected a mapping")
    return value


def _names(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _resolved(value: object) -> object:
    """The value with every `os.environ/NAME` in it replaced, as LiteLLM does when it reads its configuration."""
    if isinstance(value, Mapping):
        return {name: _resolved(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner) for inner in value]
    return resolve_environment(value) if isinstance(value, str) else value
