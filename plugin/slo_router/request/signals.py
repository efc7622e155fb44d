"""Signs of a bad answer that nobody has to report: it breaks its schema, or its tool call is refused. Pure.

Only a sign that cannot mean anything else counts. An answer breaks its schema if it is no JSON, has a wrong type or
lacks a required key. Patterns, alternatives and references are not looked at. A tool's result refuses its call if it is

    MCP's error -32602 ("invalid params") about the call's input, in its SDK's words, in any form of result
    Anthropic's `tool_result` with `is_error: true`, and the call names no tool of the request or breaks its schema

`is_error` alone says only that a tool failed. That is often no fault of the call: a test fails, a host is away.
OpenAI's results have no such mark at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

MOST_LOOKS = 1_000  # values of an answer, and names that they require, that are looked at
MOST_MESSAGES = 64  # of an answer, and of what follows it
MOST_RESULTS = 16  # of a request
INVALID_PARAMS = "MCP error -32602: Input validation error", "MCP error -32602: Invalid arguments for tool"
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def breaks_schema(text: str, schema: object) -> bool:
    """Whether an answer is known not to keep its schema."""
    try:
        answer = msgspec.json.decode(text)
    except RecursionError:
        return False
    except (msgspec.MsgspecError, UnicodeError):
        return True
    return _breaks(answer, schema)


def _breaks(answer: object, schema: object) -> bool:
    waiting, looks = [(answer, schema)], MOST_LOOKS
    while waiting and looks > 0:
        value, form = waiting.pop()
        looks -= 1
        if not isinstance(form, Mapping):
            continue
        if not _has_type(value, form.get("type")):
            return True
        if isinstance(value, dict):
            required, properties = _some(form.get("required")), form.get("properties")
            looks -= len(required)
            if any(isinstance(name, str) and name not in value for name in required):
                return True
            known = properties if isinstance(properties, Mapping) else {}
            waiting += [(value[name], known[name]) for name in value if name in known]
        elif isinstance(value, list):
            waiting += [(item, form.get("items")) for item in _some(value)]
    return False


def _has_type(value: object, asked: object) -> bool:
    named = asked if isinstance(asked, list) else [asked]
    known = [name for name in named if isinstance(name, str) and name in _TYPES]
    return len(known) < len(named) or any(_is(value, name) for name in known)


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool) or name == "boolean":
        return isinstance(value, bool) and name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def refused_from(messages: object, tools: object) -> int | None:
    """How many messages came before the answer whose tool call the request's last messages refuse; else `None`."""
    if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages[-2 * MOST_MESSAGES :]):
        return None
    end = len(messages)
    while end and end > len(messages) - MOST_MESSAGES and not _is_models(messages[end - 1]):
        end -= 1
    begin = end
    while begin and begin > end - MOST_MESSAGES and _is_models(messages[begin - 1]):
        begin -= 1
    if not 0 < begin < end < len(messages):
        return None
    calls = {call.id: call for call in _calls(messages[begin:end])}
    results = islice(_results(messages[end:]), MOST_RESULTS)
    return begin if any(_refuses(result, calls, tools) for result in results) else None


class _Call(NamedTuple):
    id: object
    name: object
    arguments: object


class _Result(NamedTuple):
    call_id: object
    text: str
    is_error: bool


def _is_models(message: Mapping[str, object]) -> bool:
    """Whether the model wrote it; items of Responses may have no role."""
    role = message.get("role")
    return role == "assistant" if role else not str(message.get("type")).endswith("_output")


def _calls(messages: Sequence[Mapping[str, object]]) -> Iterator[_Call]:
    for part in _parts(messages, "tool_use"):
        if isinstance(part.get("id"), str):
            yield _Call(part["id"], part.get("name"), part.get("input"))


def _results(messages: Sequence[Mapping[str, object]]) -> Iterator[_Result]:
    for message in messages:
        if message.get("role") == "tool":
            yield _Result(None, _text(message.get("content")), is_error=False)
        elif message.get("type") == "function_call_output":
            yield _Result(None, _text(message.get("output")), is_error=False)
    for part in _parts(messages, "tool_result"):
        yield _Result(part.get("tool_use_id"), _text(part.get("content")), part.get("is_error") is True)


def _parts(messages: Sequence[Mapping[str, object]], kind: str) -> Iterator[Mapping[str, object]]:
    for message in messages:
        for part in _some(message.get("content")):
            if isinstance(part, Mapping) and part.get("type") == kind:
                yield part


def _refuses(result: _Result, calls: Mapping[object, _Call], tools: object) -> bool:
    if result.text.startswith(INVALID_PARAMS):
        return True
    call = calls.get(result.call_id) if isinstance(result.call_id, str) else None
    if call is None or not result.is_error:
        return False
    offered = {tool["name"]: tool for tool in _some(tools) if isinstance(tool, Mapping) and _is_named(tool)}
    if not isinstance(call.name, str) or not offered:
        return False
    return call.name not in offered or _breaks(call.arguments, offered[call.name].get("input_schema"))


def _is_named(tool: Mapping[str, object]) -> bool:
    return isinstance(tool.get("name"), str)


def _text(content: object) -> str:
    """The text of a result, or that of its first part."""
    first = content[0] if isinstance(content, list) and content else content
    text = first.get("text") if isinstance(first, Mapping) else first
    return text if isinstance(text, str) else ""


def _some(value: object) -> list[object]:
    return value[:MOST_LOOKS] if isinstance(value, list) else []
