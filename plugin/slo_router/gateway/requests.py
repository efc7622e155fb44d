"""What is read off a request, or off the call of a deployment, as LiteLLM hands it to its callbacks."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import cast

import msgspec
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.responses.utils import ResponsesAPIRequestUtils

from slo_router.request.slo import SloInputs, ceiling_in

LONGEST_NAME = 1_000  # of a session
_FALLBACK_SECRET = secrets.token_hex()
LONGEST_LOOKUP_S = 60.0  # from a request's arrival to its first hook; if it is more, somebody set the clock
NARROWING_KEYS = ("_target_order", "_excluded_deployment_ids", "_retry_skipped_deployment_ids", "enable_tag_filtering")

ROUTED_CALL_TYPES = frozenset(
    {
        "completion",
        "acompletion",
        "text_completion",
        "atext_completion",
        "responses",
        "aresponses",
        "anthropic_messages",
        "agenerate_content",
        "agenerate_content_stream",
    }
)

UNROUTED_TEXT = frozenset(  # these call types write text, too, so a cost ceiling holds for them
    {
        "acreate_interaction",
        "acompact_responses",
        "_aresponses_websocket",
    }
)

PASSED_ON = "pass_through_endpoint"  # the type of a call that goes past the router

Request = dict[str, object]

_ELSEWHERE = ("api_key", "api_base", "base_url", "mock_response", "mock_tool_calls", "mock_timeout")
_CREDENTIALS = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key"})


def place_of(request: Mapping[str, object]) -> tuple[object, ...]:
    """Where LiteLLM is in its retries and fallbacks of a request: the same as long as nothing failed."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    retries = metadata.get("attempted_retries") if isinstance(metadata, Mapping) else None
    return (retries or 0, request.get("fallback_depth") or 0, *(request.get(key) for key in NARROWING_KEYS))


def arrived_s(request: Mapping[str, object], now_s: float) -> float:
    """When the request arrived at the proxy, before it looked up the key. Unix seconds."""
    sent = request.get("proxy_server_request")
    at_s = sent.get("arrival_time") if isinstance(sent, Mapping) else None
    return float(at_s) if isinstance(at_s, int | float) and 0 <= now_s - at_s < LONGEST_LOOKUP_S else now_s


def is_impatient(request: Mapping[str, object]) -> bool:
    """Whether the client set a timeout, in the body or in LiteLLM's headers."""
    return any(request.get(name) is not None for name in ("timeout", "request_timeout", "stream_timeout"))


def is_elsewhere(request: Mapping[str, object]) -> bool:
    """Whether the client named its own key or address, or asked LiteLLM for a made-up answer or error.

    The outcome of such a request says nothing about the deployment.
    """
    if any(request.get(name) for name in _ELSEWHERE):
        return True
    sent = request.get("extra_headers")
    return isinstance(sent, Mapping) and any(str(name).lower() in _CREDENTIALS for name in sent)


def key_hash(request: Mapping[str, object]) -> str:
    """The virtual key's hash, empty where there is none."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    return str(metadata.get("user_api_key_hash") or "") if isinstance(metadata, Mapping) else ""


def ceiling_of(request: Mapping[str, object]) -> float | None:
    """The cost ceiling of the request's key or team, USD per 1,000 tokens."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    auth = metadata.get("user_api_key_auth")  # for a relayed request LiteLLM gives nothing else
    key = metadata.get("user_api_key_metadata", getattr(auth, "metadata", None))
    team = metadata.get("user_api_key_team_metadata", getattr(auth, "team_metadata", None))
    return ceiling_in(SloInputs(key_metadata=key, team_metadata=team))


def relayed(request: Request) -> Request | None:
    """The body that LiteLLM relays to a deployment as it came (`/vllm/…`, `/azure/…`), without what is meant for us."""
    body = request.get("json")
    if not isinstance(body, dict):
        return None
    _taken_out(body)
    return body


def holder_of(request: Mapping[str, object]) -> str | None:
    """The deployment that holds the response that this request continues. LiteLLM writes it into the response's id."""
    before = request.get("previous_response_id")
    if not isinstance(before, str):
        return None
    return cast("str | None", ResponsesAPIRequestUtils.get_model_id_from_response_id(before))


def session_of(request: Mapping[str, object]) -> int:
    """The session that this request belongs to, as a hash that all workers of this proxy compute alike; 0 if none.

    The client names the session, in LiteLLM's header, in `prompt_cache_key` (OpenAI's clients, Codex) or in the
    `user_id` of Claude Code. Else the name is what LiteLLM found (`x-…-session-id`, Codex's headers, baggage). The key
    is in the hash, so two keys share no session. The name itself does not leave this function.
    """
    name = _header(request, "x-litellm-session-id") or request.get("prompt_cache_key") or _claude_session(request)
    own = request.get("litellm_metadata") or request.get("metadata")
    if not name and not (isinstance(own, Mapping) and own.get("litellm_session_id_generated")):
        name = request.get("litellm_session_id")
    if not name or not isinstance(name, str):
        return 0
    text = f"{key_hash(request)}|{name[:LONGEST_NAME]}".encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=7, key=_secret()).digest(), "big")


def _header(request: Mapping[str, object], name: str) -> object:
    sent = request.get("proxy_server_request")
    headers = sent.get("headers") if isinstance(sent, Mapping) else None
    return headers.get(name) if isinstance(headers, Mapping) else None


def _claude_session(request: Mapping[str, object]) -> object:
    """The session in Claude Code's `metadata.user_id`, which is JSON from 2.1.78 on. LiteLLM reads the older form."""
    metadata = request.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if not isinstance(user, str) or not user.startswith("{") or len(user) > LONGEST_NAME:
        return None
    try:
        said = msgspec.json.decode(user)
    except msgspec.MsgspecError:
        return None
    return said.get("session_id") if isinstance(said, dict) else None


def _secret() -> bytes:
    """A secret that a reader of Redis does not know: from the proxy's master key, else of this worker alone."""
    return blake2b(str(proxy_server.master_key or _FALLBACK_SECRET).encode("utf-8", "replace")).digest()


def sent_to(call: Mapping[str, object]) -> str | None:
    """The id of the deployment that a call goes to; `None` where the call goes to no deployment of a router."""
    info = call.get("model_info")
    found = info.get("id") if isinstance(info, Mapping) else None
    return None if found is None else str(found)


def is_from_cache(request: Mapping[str, object]) -> bool:
    """Whether LiteLLM answers from its cache."""
    details = getattr(request.get("litellm_logging_obj"), "caching_details", None)
    return isinstance(details, Mapping) and bool(details.get("cache_hit"))


def response_id(pieces: Iterable[object]) -> str | None:
    """The id that a client got of a streamed response, by its events, to which LiteLLM gave it on their way out."""
    for piece in pieces:
        response = getattr(piece, "response", None)
        found = response.get("id") if isinstance(response, Mapping) else getattr(response, "id", None)
        if isinstance(found, str):
            return found
    return None


def provider_headers(answer: object) -> Mapping[str, object]:
    """The headers of a deployment's answer, as LiteLLM hands them on; empty on the routes where it does not."""
    hidden = getattr(answer, "_hidden_params", None)
    found = hidden.get("additional_headers") if isinstance(hidden, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _taken_out(body: Request) -> tuple[object, object]:
    metadata = body.get("metadata")
    return metadata.pop("slo", None) if isinstance(metadata, dict) else None, body.pop("user_slo", None)


def slo_inputs(data: Request, key: UserAPIKeyAuth) -> SloInputs:
    """The parts of this request that may set its SLO. Takes what a provider must not see out of `data`."""
    request = data.get("proxy_server_request")
    sent = request.get("headers") if isinstance(request, dict) else None
    body_slo, user_slo = _taken_out(data)
    return SloInputs(
        headers=sent if isinstance(sent, Mapping) else {},
        body_slo=body_slo,
        user_slo=user_slo,
        key_metadata=key.metadata or None,
        team_metadata=key.team_metadata or None,
    )
