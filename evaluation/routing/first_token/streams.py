"""The pieces of streams, as providers send them: OpenAI's chats, texts and responses, Anthropic's messages, Gemini.

The first token contains `MARK`, so that a client finds it in the bytes of any route, without knowing what a token is.
Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

MARK = "beginning"  # of every answer
Json = dict[str, object]
DONE = b"data: [DONE]\n\n"
USAGE: Json = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
SAFE: Json = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
AZURE_NOTICE: Json = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
}
PROCESSING = b": OPENROUTER PROCESSING\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer. Each piece is written separately."""

    opening: tuple[bytes, ...]  # at once
    token: bytes  # the first piece that has `MARK` in it
    rest: tuple[bytes, ...]


def data(payload: Json, event: str | None = None) -> bytes:
    """One server-sent event."""
    named = b"" if event is None else f"event: {event}\n".encode()
    return named + b"data: " + json.dumps(payload).encode() + b"\n\n"


# --- OpenAI's chat completions and completions


def chat(delta: Json | None, finish_reason: str | None = None, **fields: object) -> bytes:
    """A chunk of a chat completion. If `delta` is `None`, the chunk has no choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return data({**chunk, "choices": [] if delta is None else [choice], **fields})


def chat_stream(*opening: bytes, first: Json, then: Json, finish_reason: str = "stop") -> Stream:
    """A whole chat stream: the opening, `first`, `then` and the end."""
    end = (chat({}, finish_reason), chat(None, usage=USAGE), DONE)
    return Stream(opening, chat(first), (chat(then), *end))


def text(words: str, finish_reason: str | None = None) -> bytes:
    """A chunk of a text completion."""
    choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": finish_reason}
    chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "m"}
    return data({**chunk, "choices": [choice]})


def call(name: str | None, arguments: str) -> Json:
    """The delta of a tool call: with its name, or with more of its arguments."""
    function: Json = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    known: Json = {} if name is None else {"id": "call_1", "type": "function"}
    return {"tool_calls": [{"index": 0, **known, "function": function}]}


ROLE = chat({"role": "assistant", "content": ""})
OPENAI_ROLE = chat({"role": "assistant", "content": "", "refusal": None})
EMPTY = chat({"content": ""})
WORDS: Json = {"content": f"{MARK} "}
MORE: Json = {"content": "and end."}
COMPLETION = Stream((text(""),), text(f"{MARK} "), (text("and end.", "stop"), DONE))


# --- Anthropic's messages


def message(kind: str, **fields: object) -> bytes:
    """One event of a message."""
    return data({"type": kind, **fields}, kind)


def block(index: int, kind: str, **fields: object) -> bytes:
    """The start of a content block."""
    return message("content_block_start", index=index, content_block={"type": kind, **fields})


def block_delta(index: int, kind: str, **fields: object) -> bytes:
    """More of a content block."""
    return message("content_block_delta", index=index, delta={"type": kind, **fields})


def message_stream(*opening: bytes, first: bytes, rest: tuple[bytes, ...], stop_reason: str = "end_turn") -> Stream:
    """A whole message; `opening` follows its start."""
    known: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    start = {**known, "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}}
    end = message(
        "message_delta", delta={"stop_reason": stop_reason, "stop_sequence": None}, usage={"output_tokens": 4}
    )
    return Stream((message("message_start", message=start), *opening), first, (*rest, end, message("message_stop")))


# --- OpenAI's Responses


class Responses:
    """Numbers the events of one response."""

    def __init__(self) -> None:
        self._number = 0

    def event(self, kind: str, **fields: object) -> bytes:
        """The next event."""
        self._number += 1
        return data({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def stream(self, *opening: bytes, first: bytes, rest: tuple[bytes, ...], output: Json) -> Stream:
        """A whole response. It makes the first two events itself, so call it before any other method."""
        return Stream(opening, first, (*rest, self.event("response.completed", response=response("completed", output))))

    def started(self) -> tuple[bytes, bytes]:
        """The events that come as soon as the request is accepted."""
        return (
            self.event("response.created", response=response("in_progress")),
            self.event("response.in_progress", response=response("in_progress")),
        )


def response(status: str, *output: Json) -> Json:
    """A response object."""
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 13,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if output else None,
    }


def responses_text(*, reasons: bool = False) -> Stream:
    """A text. If the model `reasons`, an empty reasoning item comes first, without any text of the reasoning."""
    made = Responses()
    opening = list(made.started())
    at = 0
    if reasons:
        hidden = {"id": "rs_1", "type": "reasoning", "summary": []}
        opening += [
            made.event("response.output_item.added", output_index=0, item=hidden),
            made.event("response.output_item.done", output_index=0, item=hidden),
        ]
        at = 1
    item: Json = {"id": "msg_1", "type": "message", "role": "assistant"}
    place: Json = {"item_id": "msg_1", "output_index": at, "content_index": 0}
    part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = f"{MARK} and end."
    done = {**item, "status": "completed", "content": [{**part, "text": whole}]}
    opening += [
        made.event(
            "response.output_item.added", output_index=at, item={**item, "status": "in_progress", "content": []}
        ),
        made.event("response.content_part.added", **place, part=part),
    ]
    first = made.event("response.output_text.delta", **place, delta=f"{MARK} ", logprobs=[])
    rest = (
        made.event("response.output_text.delta", **place, delta="and end.", logprobs=[]),
        made.event("response.output_text.done", **place, text=whole, logprobs=[]),
        made.event("response.content_part.done", **place, part={**part, "text": whole}),
        made.event("response.output_item.done", output_index=at, item=done),
    )
    return made.stream(*opening, first=first, rest=rest, output=done)


def responses_reasoning(kind: str) -> Stream:
    """Reasoning with its text. `kind` is `reasoning_summary_text`, or `reasoning_text` as vLLM has it."""
    made = Responses()
    item: Json = {"id": "rs_1", "type": "reasoning", "summary": []}
    place: Json = {"item_id": "rs_1", "output_index": 0, "content_index": 0, "summary_index": 0}
    whole = f"{MARK} and end."
    done = {**item, "summary": [{"type": "summary_text", "text": whole}]}
    opening = (*made.started(), made.event("response.output_item.added", output_index=0, item=item))
    first = made.event(f"response.{kind}.delta", **place, delta=f"{MARK} ")
    rest = (
        made.event(f"response.{kind}.delta", **place, delta="and end."),
        made.event(f"response.{kind}.done", **place, text=whole),
        made.event("response.output_item.done", output_index=0, item=done),
    )
    return made.stream(*opening, first=first, rest=rest, output=done)


def responses_call() -> Stream:
    """A function call. Its name is the first thing that the model wrote."""
    made = Responses()
    item: Json = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": MARK}
    place: Json = {"item_id": "fc_1", "output_index": 0}
    done = {**item, "status": "completed", "arguments": '{"a": 1}'}
    opening = made.started()
    first = made.event(
        "response.output_item.added", output_index=0, item={**item, "status": "in_progress", "arguments": ""}
    )
    rest = (
        made.event("response.function_call_arguments.delta", **place, delta='{"a": 1}'),
        made.event("response.function_call_arguments.done", **place, arguments='{"a": 1}'),
        made.event("response.output_item.done", output_index=0, item=done),
    )
    return made.stream(*opening, first=first, rest=rest, output=done)


# --- Gemini


def candidate(*parts: Json, **fields: object) -> bytes:
    """A chunk of generated content."""
    content: Json = {"role": "model", **({"parts": list(parts)} if parts else {})}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}
    known = {"usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}
    return data({"candidates": [{"content": content, "index": 0, **fields}], **known})
