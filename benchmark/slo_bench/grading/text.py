"""Finds the answer in a model's text, and normalises texts for comparison.

A reasoning model may put its thoughts into the text, as `<think>…</think>`. They are not part of the answer. If they
are not closed, there is no answer.

A normalised text is Unicode NFKC, case folded, with white space collapsed, and without quotes, asterisks, backticks and
full stops around it. `**"Paris".**` and `paris` are the same, `Paris, France` is not.
"""

from __future__ import annotations

import re
import unicodedata

_OPEN, _CLOSE = "<think>", "</think>"
_AROUND = " \"'`*_.“”‘’«»"
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


def without_reasoning(text: str) -> str:
    """The text after the thoughts; empty if the thoughts do not end."""
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
