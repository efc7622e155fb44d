"""Right and wrong request bodies of clients. They are seeded, so that a failure can be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

NUMBERS: tuple[object, ...] = (
    *(0, 1, 4, 16, 256, 4_096, 32_000, 1_000_000, 10**400, -1, -(10**30), 1.0, 0.5, 1e300, float("inf"), float("nan")),
    *(True, False, None, "", "4", "4096", "many", [], [4], {}, {"max": 4}),
)
TEXTS = (
    *("", "Hi.", "Extract all person names from the text.", "Summarize this: " + "the cat sat on the mat. " * 40),
    *("Write a Python function that sorts a list.", "漢字" * 500, "\ud800 half a pair", "\x00", "word " * 6_000),
)
KINDS = ("text", "input_text", "image_url", "image", "input_image", "file", "input_file", "document", "input_audio")
ODD: tuple[object, ...] = (None, 7, 0.5, True, "x", [], {}, [[]], [None], [7], {"type": None}, {"type": ["text"]})


def random_body(rng: random.Random) -> dict[str, object]:
    """One body of chat completions, completions, messages or responses."""
    body: dict[str, object] = {}
    form = rng.choice(("messages", "messages", "messages", "prompt", "input"))
    if form == "messages" or rng.random() < 0.1:
        body["messages"] = [_message(rng) for _ in range(rng.choice((1, 1, 2, 5, 12)))]
    if form != "messages":
        body[form] = rng.choice(TEXTS) if rng.random() < 0.6 else [_part(rng) for _ in range(rng.randint(0, 3))]
    for name, (share, value) in FIELDS.items():
        if rng.random() < share:
            body[name] = value(rng)
    body["stream"] = rng.choice((True, False, None, "true"))
    if rng.random() < 0.1:  # a client's mistake: an odd value in any field
        body[rng.choice((*body, "tools", "messages", "text", "instructions", "input"))] = rng.choice(ODD)
    return body


def _message(rng: random.Random) -> object:
    if rng.random() < 0.03:
        return rng.choice(ODD)
    content = rng.choice(TEXTS) if rng.random() < 0.6 else [_part(rng) for _ in range(rng.randint(0, 4))]
    return {"role": rng.choice(("user", "user", "assistant", "system", "tool", None)), "content": content}


def _part(rng: random.Random) -> object:
    if rng.random() < 0.05:
        return rng.choice(ODD)
    kind = rng.choice(KINDS)
    if kind in ("text", "input_text"):
        return {"type": kind, "text": rng.choice(TEXTS)}
    if rng.random() < 0.1:  # a tool result with parts of its own
        return {"type": "tool_result", "content": [_part(rng) for _ in range(2)]}
    return {"type": kind, kind: {"url": "data:,x"}}


def _tool(rng: random.Random) -> object:
    if rng.random() < 0.05:
        return rng.choice(ODD)
    described: Mapping[str, object] = {"name": "f", "description": rng.choice(TEXTS), "parameters": {"type": "object"}}
    return rng.choice(({"type": "function", "function": described}, {**described, "input_schema": {}}))


def _tools(rng: random.Random) -> object:
    return [_tool(rng) for _ in range(rng.choice((0, 1, 3, 40)))]


def _number(rng: random.Random) -> object:
    return rng.choice(NUMBERS)


FIELDS: Mapping[str, tuple[float, Callable[[random.Random], object]]] = {  # how often, and its value
    "max_tokens": (0.35, _number),
    "max_completion_tokens": (0.35, _number),
    "max_output_tokens": (0.2, _number),
    "n": (0.2, _number),
    "best_of": (0.1, _number),
    "tools": (0.3, _tools),
    "functions": (0.1, _tools),
    "system": (0.1, lambda rng: rng.choice(TEXTS)),
    "response_format": (0.1, lambda rng: {"type": rng.choice(("json_schema", "json_object", "text", None))}),
    "thinking": (0.1, lambda rng: {"type": "enabled", "budget_tokens": _number(rng)}),
    "reasoning_effort": (0.1, lambda rng: rng.choice(("low", "high", None, 3))),
    "previous_response_id": (0.05, lambda rng: rng.choice((*ODD, "resp_1", "resp_" + "QUJD" * 9, "resp_\ud800"))),
    "web_search_options": (0.05, lambda rng: rng.choice(ODD)),
}
