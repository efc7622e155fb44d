"""Anthropic's Messages API, in the order of its reference: the message starts at once, then its one content block."""

import orjson

from evaluation.emulator.answers import Answer, Ask
from evaluation.emulator.bodies import MessagesBody

from .dialect import Dialect, Json, sse

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Messages(Dialect):
    """POST /v1/messages."""

    body = MessagesBody

    def whole(self, answer: Answer) -> Json:
        """A `message`."""
        content = _block(answer, answer.text)
        reason = {"stop_reason": _STOP_REASONS[answer.finish_reason]}
        return _message(answer, answer.tokens) | reason | {"content": [content]}

    def accepted(self, answer: Answer) -> list[bytes]:
        """The message before it has any content."""
        return [_event("message_start", {"message": _message(answer, 1)})]

    def opening(self, answer: Answer) -> list[bytes]:
        """The content block before it has any content."""
        return [_event("content_block_start", {"index": 0, "content_block": _block(answer, "")})]

    def piece(self, answer: Answer, index: int) -> bytes:
        """A piece of the text, or of the input of the tool."""
        piece = answer.pieces[index]
        delta: Json = {"type": "text_delta", "text": piece}
        if answer.tool is not None:
            delta = {"type": "input_json_delta", "partial_json": piece}
        return _event("content_block_delta", {"index": 0, "delta": delta})

    def closing(self, answer: Answer, ask: Ask) -> list[bytes]:  # noqa: ARG002 - usage comes in any case
        """The end of the block, the stop reason with the output tokens, and the end of the message."""
        delta = {"stop_reason": _STOP_REASONS[answer.finish_reason], "stop_sequence": None}
        usage = {"output_tokens": answer.tokens}
        return [
            _event("content_block_stop", {"index": 0}),
            _event("message_delta", {"delta": delta, "usage": usage}),
            _event("message_stop", {}),
        ]


def _event(kind: str, fields: Json) -> bytes:
    return sse({"type": kind, **fields}, event=kind)


def _block(answer: Answer, text: str) -> Json:
    if answer.tool is None:
        return {"type": "text", "text": text}
    return {"type": "tool_use", "id": f"toolu_{answer.id}", "name": answer.tool, "input": orjson.loads(text or "{}")}


def _message(answer: Answer, output_tokens: int) -> Json:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.prompt_tokens - (answer.cached_tokens or 0),
            "cache_read_input_tokens": answer.cached_tokens or 0,
            "output_tokens": output_tokens,
        },
    }
