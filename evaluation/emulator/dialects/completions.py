"""OpenAI's completion routes. Sources: OpenAI's API reference and, for the order of chunks, what vLLM sends."""

from evaluation.emulator.answers import Answer, Ask
from evaluation.emulator.bodies import ChatBody, CompletionBody

from .dialect import Dialect, Json, sse

DONE = b"data: [DONE]\n\n"


class ChatCompletions(Dialect):
    """POST /v1/chat/completions."""

    body = ChatBody

    def whole(self, answer: Answer) -> Json:
        """A `chat.completion`."""
        message: Json = {"role": "assistant", "content": answer.text}
        if answer.tool is not None:
            message = {"role": "assistant", "content": None, "tool_calls": [_call(answer, answer.text)]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return envelope(answer, "chat.completion", choice) | {"usage": usage(answer)}

    def opening(self, answer: Answer) -> list[bytes]:
        """The role-only chunk."""
        return [self._chunk(answer, {"role": "assistant", "content": "" if answer.tool is None else None})]

    def piece(self, answer: Answer, index: int) -> bytes:
        """A piece of the content, or of the arguments of the tool call."""
        if answer.tool is None:
            return self._chunk(answer, {"content": answer.pieces[index]})
        arguments = answer.pieces[index]
        call = _call(answer, arguments) if index == 0 else {"function": {"arguments": arguments}}
        return self._chunk(answer, {"tool_calls": [{"index": 0} | call]})

    def closing(self, answer: Answer, ask: Ask) -> list[bytes]:
        """The finish reason, the usage if the client asked for it, the end."""
        last = [self._chunk(answer, {}, answer.finish_reason)]
        if ask.include_usage:
            last.append(sse(envelope(answer, "chat.completion.chunk") | {"usage": usage(answer)}))
        return [*last, DONE]

    @staticmethod
    def _chunk(answer: Answer, delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse(envelope(answer, "chat.completion.chunk", choice))


class Completions(Dialect):
    """POST /v1/completions."""

    body = CompletionBody

    def whole(self, answer: Answer) -> Json:
        """A `text_completion`."""
        return self._completion(answer, answer.text, answer.finish_reason) | {"usage": usage(answer)}

    def piece(self, answer: Answer, index: int) -> bytes:
        """A piece of the text; the last one has the finish reason."""
        last = index == len(answer.pieces) - 1
        return sse(self._completion(answer, answer.pieces[index], answer.finish_reason if last else None))

    def closing(self, answer: Answer, ask: Ask) -> list[bytes]:
        """The usage if the client asked for it, the end."""
        with_usage = sse(envelope(answer, "text_completion") | {"usage": usage(answer)})
        return [with_usage, DONE] if ask.include_usage else [DONE]

    @staticmethod
    def _completion(answer: Answer, text: str, finish_reason: str | None) -> Json:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return envelope(answer, "text_completion", choice)


def envelope(answer: Answer, kind: str, *choices: Json) -> Json:
    """The fields that every object of the completion routes has, with its choices."""
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "choices": list(choices),
    }


def usage(answer: Answer) -> Json:
    """Token counts of the completion routes."""
    completion = answer.tokens
    counts: Json = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": answer.prompt_tokens + completion,
    }
    if answer.hidden_tokens:
        counts["completion_tokens_details"] = {"reasoning_tokens": answer.hidden_tokens}
    if answer.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": answer.cached_tokens}
    return counts


def _call(answer: Answer, arguments: str) -> Json:
    return {"id": f"call_{answer.id}", "type": "function", "function": {"name": answer.tool, "arguments": arguments}}
