"""Whether a text repeats itself. It works on characters, for every language and for code.

Two signs are common in loops and very rare in real text:

- the text's end is one passage three times or more, and makes up a third of the text;
- six of ten passages of twelve characters occurred before, as in a loop that changes a word each time.

Case and the length of white space and of lines (`-----`) don't count. Digits do: a list of numbers is no loop.
"""

from __future__ import annotations

import re

LEAST_CHARS = 50  # repeated characters; a short refrain is no loop
_REPEATS = 3
_SHARE_AT_END = 1 / 3
_SHARE_SEEN = 0.6
_PASSAGE = 12  # characters
_MOST_CHARS = 20_000  # looked at, from the end
_SPACE = re.compile(r"\s+")
_RULE = re.compile(r"([^\w\s])\1{3,}")


def is_looping(text: str) -> bool:
    """Whether the text repeats itself."""
    plain = _RULE.sub(r"\1", _SPACE.sub(" ", text[-_MOST_CHARS:].casefold())).strip()
    if len(plain) < LEAST_CHARS:
        return False
    return _repeated_at_end(plain) >= max(LEAST_CHARS, len(plain) * _SHARE_AT_END) or _share_seen(plain) >= _SHARE_SEEN


def _repeated_at_end(text: str) -> int:
    """Characters at the end that are one passage three times or more, by the prefix function of the reversed text."""
    backwards = text[::-1]
    borders = [0] * len(backwards)
    longest = border = 0
    for i in range(1, len(backwards)):
        while border and backwards[i] != backwards[border]:
            border = borders[border - 1]
        if backwards[i] == backwards[border]:
            border += 1
        borders[i] = border
        if border and (i + 1) >= _REPEATS * (i + 1 - border):
            longest = i + 1
    return longest


def _share_seen(text: str) -> float:
    passages = [text[i : i + _PASSAGE] for i in range(len(text) - _PASSAGE + 1)]
    return 1 - len(set(passages)) / len(passages)
