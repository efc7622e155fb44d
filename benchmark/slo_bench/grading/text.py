"""What counts as the answer in a model's text, and when two texts are the same.

A reasoning model may put its thoughts into the text, as `<think>…</think>`. They are no part of the answer; where they
were never closed there is no answer.

Normalised: Unicode NFKC, case folded, white space collapsed, and quotes, asterisks, backticks and full stops around the
text taken off. `**"Paris".**` and `paris` are the same, `Paris, France` is not.
"""

from __future__ import annotations

import re
import unicodedata

_OPEN, _CLOSE = "<think>", "</think>"
_AROUND = " \"'`*_.“”‘’«»"
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


def without_reasoning(text: str) -> str:
    """The text behind the thoughts, if it starts with thoughts."""
    before, closed, after = text.rpartition(_CLOSE)
    if closed:
        return after.strip()
    return "" if before == "" and text.lstrip().startswith(_OPEN) else text.strip()


def normalised(text: str) -> str:
    """The form in which texts are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_AROUND)


def fenced_blocks(text: str) -> list[str]:
    """What stands between lines of three backticks, in order."""
    return _FENCED.findall(text)


def first_words(text: str, count: int) -> str:
    """The first `count` words, with the white space between them."""
    ends = [word.end() for _, word in zip(range(count), re.finditer(r"\S+", text), strict=False)]
    return text[: ends[-1]] if ends else ""
