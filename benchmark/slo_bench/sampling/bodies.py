"""Reads the bodies of LiteLLM's four text routes as chat messages, which `slo-bench run` can send.

    /v1/chat/completions   messages
    /v1/completions        prompt: a text, or several
    /v1/responses          instructions, input: a text, or messages, function calls and their outputs
    /v1/messages           system, messages with text, tool_use and tool_result blocks (Anthropic's protocol)

Text is kept unchanged. A model's reasoning is left out, for the next model makes its own. A request with an image, a
sound or a file is unusable, for that cannot be scrubbed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from slo_bench.sampling.candidate import Json, LeftOut, Message

# Tuples, not sets: a body's field may have any value, also one that is not hashable.
_TEXT = ("text", "input_text", "output_text")
_REASONING = ("thinking", "redacted_thinking", "reasoning")
_MEDIA = (
    "audio", "document", "file", "image", "image_file", "image_url", "input_audio", "input_file", "input_image",
    "video_url",
)  # fmt: skip
_ROLES = ("system", "developer", "user", "assistant", "tool")
_REDACTED = "redacted-by-litellm"
_SHORTENED = "(litellm_truncated skipped "


class UnusableError(Exception):
    """The body is not a usable prompt. `why` is the reason for the user."""

    def __init__(self, why: LeftOut) -> None:
        super().__init__(why.value)
        self.why = why


def read_messages(prompt: object, instructions: object = None) -> list[Message]:
    """A prompt of any of the four routes. `instructions` become a system message. Raises UnusableError."""
    messages = [*_system(instructions), *_messages(prompt)]
    texts = [text for message in messages for text in message.texts() if text]
    if not texts or _REDACTED in texts:
        raise UnusableError(LeftOut.NO_TEXT)
    if any(_SHORTENED in text for text in texts):
        raise UnusableError(LeftOut.SHORTENED)
    return messages


def read_tools(tools: object) -> list[Json] | None:
    """Function definitions of any route in the form of chat completions, without tools that providers run."""
    found: list[Json] = []
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, Mapping):
            continue
        if isinstance(tool.get("function"), Mapping):
            found.append({"type": "function", "function": tool["function"]})
        elif "name" in tool and ("input_schema" in tool or tool.get("type") == "function"):
            kept = {name: tool[name] for name in ("name", "description") if name in tool}
            schema = tool.get("input_schema", tool.get("parameters"))
            found.append({"type": "function", "function": {**kept, "parameters": schema or {"type": "object"}}})
    return found or None


def _system(instructions: object) -> Iterator[Message]:
    if instructions:
        yield from _message({"role": "system", "content": instructions})


def _messages(prompt: object) -> Iterator[Message]:
    for item in [prompt] if isinstance(prompt, str) else _list(prompt):
        if isinstance(item, str):
            yield from _message({"role": "user", "content": item})
        elif not isinstance(item, Mapping):
            raise UnusableError(LeftOut.NOT_CHAT)
        elif "role" in item:
            yield from _message(item)
        else:
            yield from _response_item(item)


def _response_item(item: Json) -> Iterator[Message]:
    match item.get("type"):
        case "function_call":
            yield Message("assistant", tool_calls=[_call(item.get("call_id"), item.get("name"), item.get("arguments"))])
        case "function_call_output":
            yield Message("tool", _plain(item.get("output")), tool_call_id=str(item.get("call_id")))
        case "reasoning":
            pass
        case _:
            raise UnusableError(LeftOut.NOT_CHAT)


def _message(item: Json) -> Iterator[Message]:
    role, content = item.get("role"), item.get("content")
    calls = [call for call in _list(item.get("tool_calls")) if isinstance(call, Mapping)]
    if role not in _ROLES:
        raise UnusableError(LeftOut.NOT_CHAT)
    if role == "tool":
        yield Message("tool", _plain(content), tool_call_id=str(item.get("tool_call_id")))
        return
    parts: list[Json] = []
    for part in () if isinstance(content, str) else _list(content):
        if not isinstance(part, Mapping):
            raise UnusableError(LeftOut.NOT_CHAT)
        kind = part.get("type")
        if kind == "tool_use":
            calls.append(_call(part.get("id"), part.get("name"), json.dumps(part.get("input"), ensure_ascii=False)))
        elif kind == "tool_result":
            yield Message("tool", _plain(part.get("content")), tool_call_id=str(part.get("tool_use_id")))
        elif kind not in _REASONING:
            parts.append({"type": "text", "text": _text(part)})
    text = (content or None) if isinstance(content, str) else (parts or None)
    if text or calls:
        yield Message(role, text, tool_calls=[{**call} for call in calls] or None)  # type: ignore[arg-type]  # one of _ROLES


def _call(identity: object, name: object, arguments: object) -> dict[str, object]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}


def _plain(content: object) -> str:
    """The text of a tool's result."""
    return content if isinstance(content, str) else "\n".join(_text(part) for part in _list(content))


def _text(part: object) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get("text") if isinstance(part, Mapping) else None
    if kind in _MEDIA:
        raise UnusableError(LeftOut.MEDIA)
    if kind not in _TEXT or not isinstance(text, str):
        raise UnusableError(LeftOut.NOT_CHAT)
    return text


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()
