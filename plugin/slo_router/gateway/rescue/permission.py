"""After which attempts another may follow: LiteLLM itself would ask another deployment, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Mapping

from litellm.router import Router

from slo_router.gateway.router import settings
from slo_router.worker.trace import METADATA_KEYS, Trace

TEXT = ("atext_completion", "text_completion")
_AT_THE_CLIENT = ("function", "custom")  # where such a tool runs
_GROUP = "namespace"  # of tools, in Responses
_FUNCTIONS = frozenset({"functionDeclarations", "function_declarations"})  # of Gemini's form


def may_be_followed(trace: Trace, call: Mapping[str, object], router: Router | None) -> bool:
    """Whether another deployment may be asked in place of the attempt that is sent with this call."""
    if trace.decision is None or trace.is_shadow or trace.asked.rescue == "off":
        return False
    if trace.tells_nothing or trace.goes_on or trace.first_token_s is not None:  # a token: LiteLLM continues the stream
        return False
    return router is not None and retries_left(call, router) > trace.repeats and not _acts(call)


def retries_left(call: Mapping[str, object], router: Router) -> int:
    """How often LiteLLM at least asks again after a timeout of this attempt."""
    metadata = next((found for key in METADATA_KEYS if isinstance(found := call.get(key), Mapping)), {})
    most, made = metadata.get("max_retries"), metadata.get("attempted_retries")
    if not isinstance(most, int) or not isinstance(made, int):
        return 0
    own = call.get("num_retries")  # the deployment's
    if isinstance(own, int):
        most = min(most, own)
    if made == 0:  # after that LiteLLM has put the policy's number into `max_retries`
        by_policy = _after_timeout(router, metadata.get("model_group"))
        most = most if by_policy is None else min(most, by_policy)
    return most - made


def _after_timeout(router: Router, group: object) -> int | None:
    """How often a retry policy retries after a timeout, the group's before the router's; `None` where none says it."""
    policies, policy = settings(router, "model_group_retry_policy", "retry_policy")
    own = policies.get(group) if isinstance(policies, Mapping) else None
    for one in (own, policy):
        said = one.get("TimeoutErrorRetries") if isinstance(one, Mapping) else getattr(one, "TimeoutErrorRetries", None)
        if isinstance(said, int):
            return said
    return None


def _acts(call: Mapping[str, object]) -> bool:
    """Whether something happens at the provider that must not happen twice: its tools, what it stores."""
    if call.get("background") or call.get("store") or call.get("conversation") or call.get("web_search_options"):
        return True
    tools = call.get("tools")
    return isinstance(tools, list) and not _run_at_the_client(tools)


def _run_at_the_client(tools: object) -> bool:
    return isinstance(tools, list) and all(_runs_at_the_client(tool) for tool in tools)


def _runs_at_the_client(tool: object) -> bool:
    if not isinstance(tool, Mapping):
        return False
    if tool.get("type") == _GROUP:
        return _run_at_the_client(tool.get("tools"))
    return tool.get("type") in _AT_THE_CLIENT or "input_schema" in tool or tool.keys() <= _FUNCTIONS
