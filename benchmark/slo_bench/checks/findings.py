"""The faults that one answer alone shows."""

from __future__ import annotations

import json
import re

from slo_bench.checks.answer import (
    BROKEN_JSON,
    EMPTY,
    LOOPING,
    SPECIAL_TOKEN,
    TRUNCATED,
    UNDECODABLE,
    Answer,
)
from slo_bench.checks.markup import has_markup
from slo_bench.checks.repetition import is_looping
from slo_bench.grading.text import fenced_blocks, without_reasoning

_NO_TEXT = re.compile(r"[\ufffd\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # tabs, line ends and terminal colours are text


def findings(answer: Answer) -> tuple[str, ...]:
    """The names of the answer's faults, of `answer.FAULTS`; empty for a sound answer.

    An answer that ended at `max_tokens` need not be complete: it may have broken JSON and, if it was still reasoning,
    no text.
    """
    if answer.is_cut:
        return (TRUNCATED,)
    if not answer.text.strip():
        thinking = answer.reasoning_chars > 0 or answer.is_mostly_reasoning
        excused = answer.finish_reason == "tool_calls" or (answer.ran_out and thinking)
        return () if excused else (EMPTY,)
    found = {
        SPECIAL_TOKEN: has_markup(answer.text, answer.prompt),
        UNDECODABLE: _is_undecodable(answer.text, answer.prompt),
        LOOPING: is_looping(answer.text),
        BROKEN_JSON: answer.expects_json and not answer.ran_out and not _is_json(answer.text),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _is_undecodable(text: str, prompt: str) -> bool:
    """Whether the text has undecodable bytes, except at its end, where `max_tokens` may cut a character."""
    return _NO_TEXT.search(text.rstrip("\ufffd")) is not None and _NO_TEXT.search(prompt) is None


def _is_json(text: str) -> bool:
    """Whether the whole text, or a fenced block in it, is JSON."""
    return any(map(_is_whole_json, (without_reasoning(text), *fenced_blocks(text))))


def _is_whole_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: thousands of open brackets
        return False
    return True
