"""Finds the JSON value in an answer, which may be inside Markdown or other text.

The order of search: the whole text, the last fenced block that is JSON, the first bracket from which an object or a
list can be read. `NaN` and `Infinity` are not JSON, although Python's reader accepts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from slo_bench.grading.text import fenced_blocks

_MOST_STARTS = 100  # brackets to try: reading from each of a million would take too long


def json_in(answer: str) -> object:
    """The value. Raises ValueError where there is none."""
    for candidate in (answer, *reversed(fenced_blocks(answer))):
        try:
            return json.loads(candidate, parse_constant=_refuse)
        except (ValueError, RecursionError):  # RecursionError: thousands of open brackets
            continue
    for value in _embedded(answer):
        return value
    raise ValueError("no JSON in the answer")


def _embedded(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for _, bracket in zip(range(_MOST_STARTS), re.finditer(r"[{\[]", text), strict=False):
        try:
            yield decoder.raw_decode(text, bracket.start())[0]
        except (ValueError, RecursionError):
            continue


def _refuse(name: str) -> object:
    raise ValueError(name)
