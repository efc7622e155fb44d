"""How providers open a stream before the first token, as exactly the bytes that they send. Pure.

Each habit is a provider as LiteLLM knows it. For each of the provider's own routes it has three parts of a stream: what
comes at once, the piece with the first token, and the rest.

Sources: the providers' API references, and streams quoted in public threads: vllm-project/vllm#15106 (a chunked prefill
sends the role after its first part), Azure/azure-sdk-for-go#21086 and microsoft/autogen#6465 (filter chunks of Azure),
BerriAI/litellm#25598.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evaluation.routing.first_token.streams import (
    AZURE_NOTICE,
    COMPLETION,
    EMPTY,
    MARK,
    MORE,
    OPENAI_ROLE,
    PING,
    PROCESSING,
    ROLE,
    WORDS,
    Stream,
    block,
    block_delta,
    call,
    candidate,
    chat_stream,
    data,
    message,
    message_stream,
    responses_call,
    responses_reasoning,
    responses_text,
)

ROUTES = ("chat", "completions", "messages", "responses", "gemini")


@dataclass(frozen=True, slots=True)
class Habit:
    """A provider's habit. `model` is LiteLLM's name. `streams` are by the end of the provider's own path."""

    name: str
    model: str
    streams: Mapping[str, Stream]
    routes: tuple[str, ...] = ROUTES  # the proxy's routes on which it is asked

    @property
    def provider(self) -> str:
        """LiteLLM's name of the provider."""
        return self.model.partition("/")[0]


CHAT, COMPLETIONS, MESSAGES, RESPONSES, GEMINI = (
    "/chat/completions",
    "/completions",
    "/messages",
    "/responses",
    ":streamGenerateContent",
)
_TALK = chat_stream(OPENAI_ROLE, first=WORDS, then=MORE)
_NOTICED = chat_stream(data(AZURE_NOTICE), OPENAI_ROLE, first=WORDS, then=MORE)
_PROCESSED = chat_stream(PROCESSING, PROCESSING, ROLE, PROCESSING, EMPTY, first=WORDS, then=MORE)
_TOOL = chat_stream(ROLE, first=call(MARK, ""), then=call(None, '{"a": 1}'), finish_reason="tool_calls")
_REFUSAL = chat_stream(OPENAI_ROLE, first={"refusal": f"{MARK} "}, then={"refusal": "and end."})
_TEXT = responses_text()
_STOP = message("content_block_stop", index=0)
_MESSAGE = message_stream(
    block(0, "text", text=""),
    PING,
    first=block_delta(0, "text_delta", text=f"{MARK} "),
    rest=(block_delta(0, "text_delta", text="and end."), _STOP),
)
_THINKING = message_stream(
    PING,
    block(0, "thinking", thinking="", signature=""),
    first=block_delta(0, "thinking_delta", thinking=f"{MARK} "),
    rest=(
        block_delta(0, "signature_delta", signature="c2lnbmVk"),
        _STOP,
        block(1, "text", text=""),
        block_delta(1, "text_delta", text="and end."),
        message("content_block_stop", index=1),
    ),
)
_TOOL_USE = message_stream(
    PING,
    first=block(0, "tool_use", id="toolu_1", name=MARK, input={}),
    rest=(
        block_delta(0, "input_json_delta", partial_json=""),
        block_delta(0, "input_json_delta", partial_json='{"a": 1}'),
        _STOP,
    ),
    stop_reason="tool_use",
)
_CANDIDATES = Stream(
    (candidate(), candidate({"text": ""})),
    candidate({"text": f"{MARK} "}),
    (candidate({"text": "and end."}, finishReason="STOP"),),
)
_THOUGHTS = Stream(
    (candidate(),),
    candidate({"text": f"{MARK} ", "thought": True}),
    (candidate({"text": "and end."}, finishReason="STOP"),),
)
_VLLM_REASONING: Mapping[str, Stream] = MappingProxyType(
    {
        CHAT: chat_stream(ROLE, first={"reasoning_content": f"{MARK} "}, then=MORE),
        RESPONSES: responses_reasoning("reasoning_text"),
    }
)
HABITS = (
    Habit(
        "vllm",
        "hosted_vllm/m",
        {CHAT: chat_stream(ROLE, EMPTY, first=WORDS, then=MORE), COMPLETIONS: COMPLETION, RESPONSES: _TEXT},
    ),
    Habit("vllm reasoning", "hosted_vllm/m", _VLLM_REASONING, ("chat", "messages", "responses")),
    Habit(
        "vllm tool call", "hosted_vllm/m", {CHAT: _TOOL, RESPONSES: responses_call()}, ("chat", "messages", "responses")
    ),
    Habit("openai", "openai/m", {CHAT: _TALK, COMPLETIONS: COMPLETION, RESPONSES: _TEXT}),
    Habit("openai refusal", "openai/m", {CHAT: _REFUSAL}, ("chat",)),
    Habit("openai reasoning", "openai/m", {RESPONSES: responses_text(reasons=True)}, ("responses",)),
    Habit("openai summary", "openai/m", {RESPONSES: responses_reasoning("reasoning_summary_text")}, ("responses",)),
    Habit("openai function call", "openai/m", {RESPONSES: responses_call()}, ("responses",)),
    Habit("azure", "azure/m", {CHAT: _NOTICED, COMPLETIONS: COMPLETION, RESPONSES: _TEXT}),
    Habit("openrouter", "openrouter/m", {CHAT: _PROCESSED, RESPONSES: _TEXT}),
    Habit(
        "openrouter reasoning",
        "openrouter/m",
        {CHAT: chat_stream(PROCESSING, ROLE, first={"content": "", "reasoning": f"{MARK} "}, then=MORE)},
        ("chat", "completions", "messages"),
    ),
    Habit("anthropic", "anthropic/m", {MESSAGES: _MESSAGE}),
    Habit("anthropic thinking", "anthropic/m", {MESSAGES: _THINKING}),
    Habit("anthropic tool use", "anthropic/m", {MESSAGES: _TOOL_USE}, ("chat", "messages", "responses")),
    Habit("gemini", "gemini/m", {GEMINI: _CANDIDATES}),
    Habit("gemini thinking", "gemini/m", {GEMINI: _THOUGHTS}),
)
