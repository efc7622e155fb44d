"""Prompts of a wanted size for the studies that measure time, the same on every run."""

from __future__ import annotations

import random

_TEXT = (
    "the report shows that revenue in the northern region grew while costs for transport and energy fell after the "
    "contract with the supplier was renewed in March and the board agreed to invest in three new warehouses by the port"
)


def words(count: int, seed: int = 0) -> str:
    """Prose of `count` words in sentences."""
    rng = random.Random(seed)
    vocabulary = _TEXT.split()
    chosen = [rng.choice(vocabulary) + ("." if i % 17 == 16 else "") for i in range(count)]
    return " ".join(chosen)


def messages_of_words(count: int) -> list[dict[str, str]]:
    """A summarization request whose document has `count` words."""
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"Summarize the following report in three sentences.\n\n{words(count)}"},
    ]
