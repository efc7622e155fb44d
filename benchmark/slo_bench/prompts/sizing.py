"""Makes prompts of a given length from a workload's own text. Pure.

A prompt that is too short gets words before its last message. They are drawn at random from the workload, so no two
prompts are alike and no prefix cache has them. If a prompt is too long, its last message is cut. If that is not enough,
only the last message stays.

Without the model's tokenizer its tokens cannot be counted. So lengths are characters here. The caller converts tokens
by the characters per token that the usage of an answer shows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slo_bench.prompts.workload import Message, Prompt

CHARS_PER_TOKEN = 4.0  # assumed until an answer shows it


def vocabulary(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """Every word of the prompts once, in the order of their appearance; never empty."""
    words = dict.fromkeys(word for prompt in prompts for text in _texts(prompt) for word in text.split())
    return tuple(words) or ("word",)


def characters(prompt: Prompt) -> int:
    """The length of a prompt's text in characters."""
    return sum(len(text) for text in _texts(prompt))


def resized(prompt: Prompt, length: int, words: Sequence[str], seed: str) -> Prompt:
    """The prompt with `length` characters of text, at least one. Messages without plain text count as empty."""
    length, last = max(length, 1), prompt.messages[-1]
    content = last.get("content")
    own = content if isinstance(content, str) else ""
    missing = length - characters(prompt)
    if missing > 0:
        text = f"{_padding(missing - 2, words, seed)}\n\n{own}"
        return replace(prompt, messages=(*prompt.messages[:-1], _with_text(last, text)))
    room = length - (characters(prompt) - len(own))
    if room > 0:
        return replace(prompt, messages=(*prompt.messages[:-1], _with_text(last, own[:room])))
    return resized(replace(prompt, messages=(_with_text(last, own[:length] or "?"),)), length, words, seed)


def _padding(length: int, words: Sequence[str], seed: str) -> str:
    rng = random.Random(seed)  # noqa: S311  # no secret: the same seed makes the same text
    enough = max(length, 0) // 2 + 1  # a word and a space are two characters at least
    return " ".join(rng.choices(words, k=enough))[: max(length, 0)]


def _with_text(message: Message, text: str) -> Message:
    return {**message, "content": text}


def _texts(prompt: Prompt) -> list[str]:
    return [content for message in prompt.messages if isinstance(content := message.get("content"), str)]
