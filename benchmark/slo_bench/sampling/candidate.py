"""One request of production traffic that may become a prompt of the workload, and why others may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

Json: TypeAlias = Mapping[str, object]
CHARS_PER_TOKEN = 4.0  # where the source counted no tokens; it only chooses the length band


class LeftOut(StrEnum):
    """Why a request is not sampled. The value is the text for people."""

    NO_TEXT = "no prompt text: log_prompts (store_prompts_in_spend_logs of LiteLLM) is off"
    SHORTENED = "prompt shortened by LiteLLM: raise MAX_STRING_LENGTH_PROMPT_IN_DB"
    MEDIA = "image, audio or file in the prompt, which can't be scrubbed"
    NOT_CHAT = "no chat prompt"
    NO_CATEGORY = "no category: name one with --category"
    OTHER_GROUP = "to another group"
    FAILED = "failed"
    CACHED = "answered from a cache"
    MALFORMED = "not readable"
    TOO_MANY = "beyond the number of categories that are held at once"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chat message of the OpenAI protocol, with text only. A participant's `name` is left out."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Json] | None = None
    tool_calls: list[Json] | None = None
    tool_call_id: str | None = None

    def texts(self) -> Iterator[str]:
        """All text of the message that a tokenizer would count."""
        if isinstance(self.content, str):
            yield self.content
        for part in self.content if isinstance(self.content, list) else ():
            yield str(part.get("text", ""))
        for call in self.tool_calls or ():
            yield str(call.get("function", ""))


class Candidate(msgspec.Struct, frozen=True):
    """A request that could be sent again.

    `max_tokens` is its own limit, `completion_tokens` the length of its answer; `None` where the source has none.
    """

    category: str
    stream: bool
    messages: list[Message]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    max_tokens: int | None = None
    tools: list[Json] | None = None
    response_format: Json | None = None

    def tokens(self) -> float:
        """The prompt's length in tokens: counted by the provider, else estimated from its characters."""
        if self.prompt_tokens:
            return self.prompt_tokens
        return sum(len(text) for message in self.messages for text in message.texts()) / CHARS_PER_TOKEN
