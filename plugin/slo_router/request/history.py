"""Whether a conversation's history has parts that only the model that wrote them accepts, or is at a provider. Pure.

Models sign or encrypt their thinking, and refuse what another model signed. Signed parts are `thinking_blocks` and
`thinking` (Anthropic), thought signatures (Gemini), encrypted reasoning and compacted histories (Responses). The same
holds for what a server's own tools found (Anthropic's searches, run code). The answer to a request that asks for
thinking, or has such tools, may have such parts. So the router remembers which deployment gave it.

A provider's tools read pages and run code between a model's tokens, and it counts what they found as prompt. Such an
answer says nothing about the speed of the model, nor about the size of the request.

A provider keeps conversations, prompts and items of stored responses (Responses), containers (Anthropic), contexts
(Gemini), uploaded files and stores of them, which requests name. No other account knows them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from slo_router.request.forms.parts import files_of

_ASKS = ("thinking", "reasoning_effort", "reasoning", "web_search_options", "mcp_servers", "container")
_INCLUDED = "reasoning.encrypted_content"  # of models that think unasked
NOTHING_KEPT = 0
MOST_KEPT = 16  # names that are looked up, the latest
_NAMED = ("conversation", "container", "prompt", "cachedContent", "cached_content")
_SIGNED_PARTS = ("thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload", "compaction")
_FOUND = "_tool_result"  # the types of results of a server's tools end in this, in a model's message
_SIGNED_FIELDS = (  # that LiteLLM adds in a chat
    *("thought_signature", "thought_signatures", "web_search_results", "tool_results", "compaction_blocks"),
)
_SERVERS_TOOLS = ("web_search_2", "web_fetch_2", "code_execution_2", "tool_search_tool")  # a date follows


_AT_THE_CLIENT = (
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
)
_SEARCHES = ("googleSearch", "urlContext", "enterpriseWebSearch", "googleMaps", "codeExecution", "fileSearch")
_MAY_RUN = ("web_search", "web_fetch", "code_execution", "code_interpreter", "file_search", "mcp", "image_generation")


def providers_tools(request: Mapping[str, object]) -> tuple[bool, bool]:
    """Whether the provider may run tools of its own before the first token, and whether it usually does.

    Agents offer a search in each request, and models seldom use it.
    """
    searches, tools = bool(request.get("web_search_options")), request.get("tools")
    if not isinstance(tools, list):
        return searches, searches
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, Mapping)]
    searches = searches or any(kind.startswith(_SEARCHES) for kind in kinds)
    return searches or any(kind.startswith(_MAY_RUN) for kind in kinds), searches


def ran_tools(answer: object, usage: Mapping[str, object]) -> bool:
    """Whether the provider's own tools ran for this answer, of any route, by the answer or by what was counted."""
    counted, details = usage.get("server_tool_use"), usage.get("prompt_tokens_details")
    if isinstance(counted, Mapping) and any(counted.values()):
        return True
    if isinstance(details, Mapping) and details.get("web_search_requests"):
        return True
    return isinstance(answer, Mapping) and any(map(_was_run, _parts_of(answer)))


def _parts_of(answer: Mapping[str, object]) -> Iterator[object]:
    for field in ("output", "content", "candidates"):
        parts = answer.get(field)
        yield from parts if isinstance(parts, list) else ()
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        yield choice.get("message") if isinstance(choice, Mapping) else None


def _was_run(part: object) -> bool:
    if not isinstance(part, Mapping):
        return False
    kind, fields = str(part.get("type")), part.get("provider_specific_fields")
    if kind.endswith("_call"):  # an item of a response
        return kind not in _AT_THE_CLIENT
    if kind in ("server_tool_use", "mcp_tool_use") or part.get("annotations") or part.get("groundingMetadata"):
        return True
    return isinstance(fields, Mapping) and bool(fields.get("web_search_results") or fields.get("tool_results"))


def may_be_signed(request: Mapping[str, object]) -> bool:
    """Whether the answer to this request may have a signed part."""
    included = request.get("include")
    if any(request.get(name) for name in _ASKS) or (isinstance(included, list) and _INCLUDED in included):
        return True
    tools = request.get("tools")
    kinds = (tool.get("type") for tool in tools if isinstance(tool, Mapping)) if isinstance(tools, list) else ()
    return any(isinstance(kind, str) and kind.startswith(_SERVERS_TOOLS) for kind in kinds)


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
    return any(isinstance(part, dict) and _signs(part) for part in parts)


def _signs(part: Mapping[str, object]) -> bool:
    kind, fields = part.get("type"), part.get("provider_specific_fields")
    if isinstance(kind, str) and (kind in _SIGNED_PARTS or kind.endswith(_FOUND)):
        return True
    return isinstance(fields, Mapping) and any(fields.get(name) for name in _SIGNED_FIELDS)


def goes_on(request: Mapping[str, object], kept: Sequence[int]) -> bool:
    """Whether part of the prompt is at a provider, so that its size is unknown here; `kept`: see `kept_by_provider`."""
    return bool(kept) or request.get("previous_response_id") is not None


def kept_by_provider(request: Mapping[str, object]) -> list[int]:
    """Hashes of the names of what a provider keeps of this request, at most `MOST_KEPT`."""
    return list(dict.fromkeys(islice(_kept(request), MOST_KEPT)))


def _kept(request: Mapping[str, object]) -> Iterator[int]:
    for field in _NAMED:
        value = request.get(field)
        if value is None:
            continue
        name = value.get("id") if isinstance(value, Mapping) else None if field == "prompt" else value
        if isinstance(name, str) and name:
            yield _hash(field, name)
    items, tools = request.get("input"), request.get("tools")
    referred = (one for one in reversed(items) if _is_reference(one)) if isinstance(items, list) else iter(())
    item = _item(next(referred, None))
    if item != NOTHING_KEPT:
        yield item
    for name in files_of(request.get("messages") or items):
        yield _hash("file", name)
    for name in _of_tools(tools) if tools else ():
        yield _hash("file", name)


def _of_tools(tools: object) -> Iterator[str]:
    """Stores, files and containers that the provider's own tools use."""
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, Mapping):
            continue
        container = tool.get("container")
        within = container.get("file_ids") if isinstance(container, Mapping) else [container]
        for names in (tool.get("vector_store_ids"), within):
            yield from (name for name in (names if isinstance(names, list) else ()) if name and isinstance(name, str))


def kept_of_answer(answer: object) -> int:
    """The same hash for a response's last item: the next request may refer to it."""
    items = answer.get("output") if isinstance(answer, Mapping) and answer.get("store") is not False else None
    return _item(items[-1]) if isinstance(items, list) and items else NOTHING_KEPT


def _is_reference(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("type") == "item_reference"


def _item(item: object) -> int:
    name = item.get("id") if isinstance(item, Mapping) else None
    return _hash("item", name) if isinstance(name, str) and name else NOTHING_KEPT


def _hash(kind: str, name: str) -> int:
    return zlib.crc32(f"{kind} {name}".encode("utf-8", "replace")) or 1
