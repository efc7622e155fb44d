"""OpenAI's Responses API: one response object, streamed as typed and numbered events.

The order is that of OpenAI's API reference. `response.created` and `response.in_progress` come at once. Then each
output item has `added`, its deltas and `done`. Last comes `response.completed`, or `response.incomplete` if the token
limit ended the answer.
"""

from evaluation.emulator.answers import Answer, Ask
from evaluation.emulator.bodies import ResponsesBody

from .dialect import Dialect, Json, sse

# response.created and response.in_progress come first; then a text item has two events before its first delta, and a
# function call has one.
_ACCEPTED = 2


class Responses(Dialect):
    """POST /v1/responses."""

    body = ResponsesBody

    def whole(self, answer: Answer) -> Json:
        """A finished `response`."""
        counts = {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens or 0},
            "output_tokens": answer.tokens,
            "output_tokens_details": {"reasoning_tokens": answer.hidden_tokens},
            "total_tokens": answer.prompt_tokens + answer.tokens,
        }
        return _response(answer, _status(answer)) | {"output": [_item(answer, done=True)], "usage": counts}

    def accepted(self, answer: Answer) -> list[bytes]:
        """The response before it has any output."""
        started: Json = {"response": _response(answer, "in_progress")}
        return [_event("response.created", 0, started), _event("response.in_progress", 1, started)]

    def opening(self, answer: Answer) -> list[bytes]:
        """The output item before it has any content."""
        item = {"output_index": 0, "item": _item(answer, done=False)}
        added = [_event("response.output_item.added", _ACCEPTED, item)]
        if answer.tool is None:
            part = _place(answer) | {"part": _part("")}
            added.append(_event("response.content_part.added", _ACCEPTED + 1, part))
        return added

    def piece(self, answer: Answer, index: int) -> bytes:
        """A piece of the text, or of the arguments of the function call."""
        kind = "response.output_text.delta" if answer.tool is None else "response.function_call_arguments.delta"
        return _event(kind, _first_piece(answer) + index, _place(answer) | {"delta": answer.pieces[index]})

    def closing(self, answer: Answer, ask: Ask) -> list[bytes]:  # noqa: ARG002 - usage comes in any case
        """The events that finish the output item and the response."""
        place = _place(answer)
        item = {"output_index": 0, "item": _item(answer, done=True)}
        if answer.tool is None:
            done = [
                ("response.output_text.done", place | {"text": answer.text}),
                ("response.content_part.done", place | {"part": _part(answer.text)}),
            ]
        else:
            done = [("response.function_call_arguments.done", place | {"arguments": answer.text})]
        done += [
            ("response.output_item.done", item),
            (f"response.{_status(answer)}", {"response": self.whole(answer)}),
        ]
        first = _first_piece(answer) + len(answer.pieces)
        return [_event(kind, first + i, fields) for i, (kind, fields) in enumerate(done)]


def _event(kind: str, number: int, fields: Json) -> bytes:
    return sse({"type": kind, "sequence_number": number, **fields}, event=kind)


def _first_piece(answer: Answer) -> int:
    return _ACCEPTED + (2 if answer.tool is None else 1)


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish_reason == "length" else "completed"


def _place(answer: Answer) -> Json:
    place: Json = {"item_id": f"item_{answer.id}", "output_index": 0}
    return place if answer.tool is not None else place | {"content_index": 0, "logprobs": []}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(answer: Answer, *, done: bool) -> Json:
    item: Json = {"id": f"item_{answer.id}", "status": _status(answer) if done else "in_progress"}
    if answer.tool is None:
        return item | {"type": "message", "role": "assistant", "content": [_part(answer.text)] if done else []}
    call = {"type": "function_call", "call_id": f"call_{answer.id}", "name": answer.tool}
    return item | call | {"arguments": answer.text if done else ""}


def _response(answer: Answer, status: str) -> Json:
    cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": cut,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
