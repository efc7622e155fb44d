"""Prompts of a given length, made from a workload's own text. Pure.

Too short a prompt gets words in front of its last message, drawn at random from all that the workload says, so that no
two are alike and no prefix cache knows them. Of too long a one the last message is cut, or is all that is left.

Nobody knows a model's tokens without its tokenizer, so the length is characters × tokens per character, which the
caller learns from the usage of an answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slo_bench.prompts.workload import Message, Prompt

CHARS_PER_TOKEN = 4.0  # until an answer tells


def vocabulary(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """Every word of the prompts once, in the order of their appearance; never empty."""
    words = dict.fromkeys(word for prompt in prompts for text in _texts(prompt) for word in text.split())
    return tuple(words) or ("word",)


def characters(prompt: Prompt) -> int:
    """The length of a prompt's text."""
    return sum(len(text) for text in _texts(prompt))


def resized(prompt: Prompt, length: int, words: Sequence[str], seed: str) -> Prompt:
    """The prompt with `length` characters of text, one at least. Messages that hold no plain text count as none."""
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
