"""Makes a quote of a server's error message: short, without keys, addresses and text of the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MOST_CHARS = 160  # enough for "Unsupported parameter: …", too little for a traceback
_HIDDEN = "…"
_READ_CHARS = 600  # later characters are ignored
_SHARED_CHARS = 12  # this many equal characters in a row mean that the message repeats the prompt
_LEAST_SECRET = 4  # characters; a shorter secret may be part of a word
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://\S+|(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?"
    r"|\b(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+):\d{2,5}\b",
    re.IGNORECASE,
)


def quoted(words: str, secrets: Iterable[str], prompt: str) -> str:
    """The message without `secrets`, keys, addresses and the prompt's text."""
    from slo_bench.sampling import rules  # noqa: PLC0415  # loads the telephone numbers of the world

    text = words[:_READ_CHARS]
    for secret in sorted(filter(lambda one: len(one) >= _LEAST_SECRET, secrets), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _ADDRESS.sub(_HIDDEN, text)
    for find in (rules.keys, rules.emails, rules.addresses):
        for start, end, _ in sorted(find(text), reverse=True):
            text = text[:start] + _HIDDEN + text[end:]
    text = " ".join(_without_prompt(text, prompt).split())
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1].rstrip() + _HIDDEN


def texts_of(value: object) -> str:
    """All text in a request's messages, with white space collapsed."""
    if isinstance(value, str):
        return " ".join(value.split())
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return " ".join(map(texts_of, inner))


def _without_prompt(text: str, prompt: str) -> str:
    """The text with each passage hidden that is in the prompt."""
    shared = [False] * len(text)
    for start in range(len(text) - _SHARED_CHARS + 1):
        if text[start : start + _SHARED_CHARS] in prompt:
            shared[start : start + _SHARED_CHARS] = [True] * _SHARED_CHARS
    kept = "".join("\0" if hide else character for character, hide in zip(text, shared, strict=True))
    return re.sub("\0+", _HIDDEN, kept)
