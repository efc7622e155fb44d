"""Which piece of a stream has the first token: something that the model wrote and the client can read. Pure.

The plugin and the benchmark agent use the same functions, so both measure the same thing.

    a token        text, visible reasoning, a refusal, a tool call's name or arguments, sound, an image
    no token       a role, an empty delta, usage, a filter notice, a ping or comment, the start of an answer or of one
                   of its parts, a signature, hidden reasoning

A tool call's name counts, for the model wrote it. It comes in a `content_block_start` of Anthropic's and in a
`response.output_item.added` of OpenAI's Responses, with the first `tool_calls` of a chat completion. Calls without a
name (of a shell, a search, a patch, a picture) come in one piece, in a `response.output_item.done`.

A piece is a chunk or event (LiteLLM's object or parsed JSON), or bytes of server-sent events, cut anywhere. A piece of
an unexpected type has no token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

THINK = "<think>"  # before thoughts that stand in the text
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
TEXT_FIELDS = ("reasoning_content", "reasoning", "refusal", "images")
CALL_FIELDS = ("name", "arguments", "input", "action", "operation", "result")
BLOCK_FIELDS = ("text", "thinking", "partial_json", "name")  # of Anthropic's blocks and their deltas
PART_FIELDS = ("text", "functionCall", "inlineData", "executableCode", "codeExecutionResult")  # of Gemini's contents
MOST_HELD = 1 << 20  # bytes kept of a line that has not ended


class Look:
    """Searches one stream's pieces, in their order."""

    def __init__(self) -> None:
        self._held = b""  # the beginning of a line

    def finds_token(self, piece: object) -> bool:
        """Whether this piece has a token in it."""
        if isinstance(piece, str):
            piece = piece.encode()
        return self._in_bytes(piece) if isinstance(piece, bytes) else has_token(piece)

    def _in_bytes(self, piece: bytes) -> bool:
        *lines, rest = (self._held + piece).split(b"\n")
        self._held = rest if len(rest) <= MOST_HELD else b""
        return any(has_token(_parsed(line[5:])) for line in lines if line.startswith(b"data:"))


def has_token(event: object) -> bool:
    """Whether a chunk or event of any route has a token in it."""
    kind = _field(event, "type")
    if not isinstance(kind, str):
        choices = _items(_field(event, "choices"))
        return any(map(_choice_has_token, choices)) or any(
            map(_candidate_has_token, _items(_field(event, "candidates")))
        )
    if kind.startswith("response."):
        return _response_event_has_token(str(getattr(kind, "value", kind)), event)
    if kind == "content_block_delta":
        return _has_any(_field(event, "delta"), BLOCK_FIELDS)
    return kind == "content_block_start" and _has_any(_field(event, "content_block"), BLOCK_FIELDS)


def shows_thought(answer: object) -> bool:
    """Whether a whole answer of any route has reasoning in it that the client can read."""
    said = [_field(choice, "message") or choice for choice in _items(_field(answer, "choices"))]
    said += [*_items(_field(answer, "output")), *_items(_field(answer, "content"))]
    return any(_has_thought(one) for one in said)


def _has_thought(said: object) -> bool:
    """Whether a message, an item of a response or a block of Anthropic's has reasoning, which may stand in its text."""
    if _has_any(said, THOUGHT_FIELDS) or (
        _field(said, "type") == "reasoning" and _has_any(said, ("summary", "content"))
    ):
        return True
    text = _field(said, "content")
    is_in_text = isinstance(text, str) and text.lstrip().startswith(THINK)
    return is_in_text or any(_has_any(part, THOUGHT_FIELDS) for part in _items(text))


def delta_has_token(delta: object) -> bool:
    """Whether the delta of a chat completion has a token in it."""
    content = _field(delta, "content")
    if isinstance(content, str):
        if content:
            return True
    elif any(_has_any(part, ("text", "thinking")) for part in _items(content)):
        return True
    if _has_any(delta, TEXT_FIELDS):
        return True
    calls = [*_items(_field(delta, "tool_calls")), {"function": _field(delta, "function_call")}]
    return any(_is_call(call) for call in calls) or _has_any(_field(delta, "audio"), ("data", "transcript"))


def _choice_has_token(choice: object) -> bool:
    return _has_any(choice, ("text", "reasoning_content")) or delta_has_token(_field(choice, "delta"))


def _candidate_has_token(candidate: object) -> bool:
    return any(_has_any(part, PART_FIELDS) for part in _items(_field(_field(candidate, "content"), "parts")))


def _is_call(call: object) -> bool:
    return _has_any(_field(call, "function"), CALL_FIELDS) or _has_any(_field(call, "custom"), CALL_FIELDS)


def _response_event_has_token(kind: str, event: object) -> bool:
    if kind.endswith(".delta"):
        return bool(_field(event, "delta"))
    item = _field(event, "item")
    if kind.endswith(".done"):  # for what comes without deltas: some calls, or everything that a server sends
        said = (event, *_items(_field(item, "content")))
        if any(_has_any(one, ("text", "arguments", "input", "refusal")) for one in said):
            return True
    elif kind != "response.output_item.added":
        return False
    return _has_any(item, CALL_FIELDS)


def _has_any(owner: object, names: Iterable[str]) -> bool:
    return owner is not None and any(_field(owner, name) for name in names)


def _field(owner: object, name: str) -> object:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
