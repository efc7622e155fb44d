"""One request as the estimate sees it: sizes, names and money, no text.

LiteLLM writes a row for everything that it serves. `fate` says what became of the request:

    served     a model answered, on a route that the plugin routes
    cache_hit  LiteLLM's cache answered: nothing was paid, and nothing would be
    failed     no model answered; the cost of a broken stream is counted
    other      embeddings, images, audio, batches, tools: the plugin cannot route these
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Fate = Literal["served", "cache_hit", "failed", "other"]

ROUTED = frozenset(
    {
        *("completion", "acompletion", "text_completion", "atext_completion"),
        *("responses", "aresponses", "anthropic_messages", "aanthropic_messages"),
        *("agenerate_content", "agenerate_content_stream"),
    }
)
NO_TASK = "unknown"
KEY_CHARS = 10  # of a hashed key without an alias


class Row(NamedTuple):
    """One request. `usd` is what was booked, `None` where that is unknown. The tokens are those that were billed."""

    at_s: float  # Unix seconds
    fate: Fate
    group: str
    served: str  # the deployment's id, or its model where none is known
    model: str
    key: str  # a virtual key's alias, or the beginning of its hash
    task: str
    session: str
    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int  # of the prompt
    usd: float | None
    has_media: bool = False  # images or audio


def fate_of(call_type: str, status: str, cache_hit: str) -> Fate:
    """What became of a request, by the fields of its spend log."""
    if cache_hit.lower() == "true":
        return "cache_hit"
    if status == "failure":
        return "failed"
    return "served" if call_type in ROUTED or not call_type else "other"


def key_of(alias: str | None, key_hash: str | None) -> str:
    """The name of a virtual key."""
    return alias or (key_hash or "no key")[:KEY_CHARS]
