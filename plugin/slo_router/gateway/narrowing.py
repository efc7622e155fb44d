"""Tells whether LiteLLM may narrow a list further after our filter.

The filter runs before LiteLLM's checks of context window, tags and order. If one of these checks may still narrow the
list, the decision needs the narrowed list, see `pools`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router

from slo_router.gateway.requests import NARROWING_KEYS
from slo_router.gateway.router import Deployment, groups_of, setting

_PLUGIN_KEY = "_routing_plugin_candidate_models"  # LiteLLM sets it in the metadata if its routing plugins chose
_TEXT_PARTS = ("text", "input_text", "output_text", "tool_use", "thinking")


def checks_each(router: Router) -> bool:
    """Whether LiteLLM checks each deployment's window, rpm, region and parameters after the filters."""
    return bool(setting(router, "enable_pre_call_checks"))


def narrows_all(router: Router, callback: object) -> bool:
    """Whether LiteLLM may narrow every group's list further once `callback` has filtered it."""
    if setting(router, "enable_tag_filtering"):
        return True
    callbacks = list(litellm.callbacks)
    place = next((at for at, one in enumerate(callbacks) if one is callback), -1)
    keeps_all = CustomLogger.async_filter_deployments
    return any(
        isinstance(one, CustomLogger) and type(one).async_filter_deployments is not keeps_all
        for one in callbacks[place + 1 :]
    )


def narrowed_groups(deployments: Sequence[Deployment]) -> frozenset[str]:
    """The groups that LiteLLM narrows further because of a setting of their deployments: order, tags, endpoints."""
    found: set[str] = set()
    for deployment in deployments:
        params, info = deployment.get("litellm_params"), deployment.get("model_info")
        order = params.get("order") if isinstance(params, Mapping) else None
        flags = ("enable_tag_filtering", "enforce_supported_endpoints")
        if order is not None or (isinstance(info, Mapping) and any(info.get(flag) for flag in flags)):
            found.update(groups_of(deployment))
    return frozenset(found)


def narrows(request: Mapping[str, object], messages: object) -> bool:
    """Whether LiteLLM may narrow the list further because of this request: it is a retry, or not plain text."""
    if any(request.get(key) is not None for key in NARROWING_KEYS):
        return True
    if not _is_text(messages or request.get("input")) or _searches_the_web(request):
        return True
    metadata = request.get("litellm_metadata") or request.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get(_PLUGIN_KEY) is not None


def _searches_the_web(request: Mapping[str, object]) -> bool:
    tools = request.get("tools")
    known = ("function", "custom")  # a tool that runs at the client
    return request.get("web_search_options") is not None or (
        isinstance(tools, list) and not all(_type_of(tool) in known or _is_anthropic(tool) for tool in tools)
    )


def _is_anthropic(tool: object) -> bool:
    return isinstance(tool, Mapping) and "input_schema" in tool


def _type_of(part: object) -> object:
    return part.get("type") if isinstance(part, Mapping) else None


def _is_text(body: object) -> bool:
    """Whether a prompt, or every message, is text alone. What a tool returned may be anything."""
    if isinstance(body, str):
        return True
    return isinstance(body, list) and all(isinstance(one, dict) and _is_text_content(one) for one in body)


def _is_text_content(message: Mapping[str, object]) -> bool:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(_type_of(part) in _TEXT_PARTS for part in content)
