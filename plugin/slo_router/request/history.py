"""Whether a conversation's history has parts that only the model that wrote them accepts, or is at a provider. Pure.

Models sign or encrypt their thinking, and refuse what another model signed: `thinking_blocks` and parts of type
`thinking` (Anthropic), thought signatures (Gemini), encrypted reasoning and compacted histories (Responses). A request
that asks for thinking gets such an answer, so the router remembers which deployment gave it.

Of Responses a provider keeps conversations and prompts, which a request names. No other account knows them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

_ASKS = ("thinking", "reasoning_effort", "reasoning")
_INCLUDED = "reasoning.encrypted_content"  # of models that think unasked
NOTHING_KEPT = 0
_SIGNED_PARTS = ("thinking", "redacted_thinking")


def may_be_signed(request: Mapping[str, object]) -> bool:
    """Whether the answer to this request may have a signed part."""
    included = request.get("include")
    return any(request.get(name) for name in _ASKS) or (isinstance(included, list) and _INCLUDED in included)


def is_signed(messages: object) -> bool:
    """Whether the history has a part that a model signed or encrypted. `messages` may come from any route."""
    return isinstance(messages, list) and any(isinstance(one, dict) and _holds(one) for one in reversed(messages))


def _holds(message: Mapping[str, object]) -> bool:
    if message.get("encrypted_content"):
        return True
    if message.get("role") not in ("assistant", "model"):
        return False
    if message.get("thinking_blocks") or _signs(message):
        return True
    content, calls = message.get("content"), message.get("tool_calls")
    parts = (*(content if isinstance(content, list) else ()), *(calls if isinstance(calls, list) else ()))
    return any(isinstance(part, dict) and (part.get("type") in _SIGNED_PARTS or _signs(part)) for part in parts)


def _signs(part: Mapping[str, object]) -> bool:
    fields = part.get("provider_specific_fields")
    return isinstance(fields, Mapping) and bool(fields.get("thought_signature") or fields.get("thought_signatures"))


def goes_on(request: Mapping[str, object]) -> bool:
    """Whether part of the prompt is at a provider, so that its size is unknown here."""
    return request.get("previous_response_id") is not None or kept_by_provider(request) != NOTHING_KEPT


def kept_by_provider(request: Mapping[str, object]) -> int:
    """A hash of the name of the conversation, else of the prompt, that a provider keeps of this request."""
    for field in ("conversation", "prompt"):
        value = request.get(field)
        name = value.get("id") if isinstance(value, Mapping) else value if field == "conversation" else None
        if isinstance(name, str) and name:
            return zlib.crc32(f"{field} {name}".encode("utf-8", "replace")) or 1
    return NOTHING_KEPT
