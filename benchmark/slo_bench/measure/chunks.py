"""Reads the fields of one chat completion chunk. A value of an unexpected type counts as missing.

Servers and LiteLLM have several names for the same thing:

    reasoning          delta.reasoning_content (DeepSeek, vLLM, LiteLLM) · delta.reasoning (vLLM since 0.12, OpenRouter)
    content in parts   delta.content: [{"type": "text", "text": …}, {"type": "thinking", …}] (Mistral)
    cached tokens      usage.prompt_tokens_details.cached_tokens (OpenAI, vLLM, LiteLLM for every provider)
                       usage.cache_read_input_tokens (Anthropic through LiteLLM)
                       usage.prompt_cache_hit_tokens (DeepSeek)
    reasoning tokens   usage.completion_tokens_details.reasoning_tokens (OpenAI, LiteLLM for every provider)
                       usage.reasoning_tokens (Perplexity)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Usage(NamedTuple):
    """Token counts of a whole request. The last two are parts of the first two; `None` is unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None  # of the prompt, read from a prefix cache
    reasoning_tokens: int | None = None  # of the completion


def read_usage(usage: Mapping[str, object]) -> Usage:
    """The counts of a chunk's `usage`."""
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _first(
            _detail(usage, "prompt_tokens_details", "cached_tokens"),
            _count(usage.get("cache_read_input_tokens")),
            _count(usage.get("prompt_cache_hit_tokens")),
        ),
        _first(_detail(usage, "completion_tokens_details", "reasoning_tokens"), _count(usage.get("reasoning_tokens"))),
    )


def content_of(delta: Mapping[str, object]) -> str:
    """The text of the answer, without reasoning."""
    content = delta.get("content")
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return _text(content)


def reasoning_of(delta: Mapping[str, object]) -> str:
    """The text of the reasoning. If a server sends both fields, they have the same text."""
    return _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _detail(usage: Mapping[str, object], group: str, name: str) -> int | None:
    details = usage.get(group)
    return _count(details.get(name)) if isinstance(details, dict) else None


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
