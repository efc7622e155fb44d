"""Streams of chat completions as a hostile but lawful server might send them, each with the result a client must get.

A case is built from its content to its bytes, so that the right result is known by construction:

    steps (role, pieces of text and reasoning, finish, usage, [DONE], or an event that is broken)
      → body (lines ended by LF, CR or CRLF, comments, other fields, data over several lines, a byte order mark)
      → frames (chunked with extensions and trailers, by length, until close; plain or gzip)
      → writes (the bytes split anywhere, inside of characters too)

Some cases end early: the connection closes at any byte, or a length is wrong. Events that arrived whole by then count.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

from evaluation.robustness.sse_wire import Flaw, Framing, Wire, wire

# Text that breaks careless readers: other standards' line ends, the stream's own keywords, several code units.
BROKEN = "\ufdd0"  # on the wire it becomes three bytes that are not UTF-8
SYLLABLES = [
    BROKEN,
    "a",
    "data: ",
    "\n",
    "\r\n",
    "\n\n",
    "[DONE]",
    "é",
    "漢",
    "🙂",
    "\u2028",
    "\x85",
    "\x0b",
    "\\",
    '"',
    ":",
    " ",
]
NOISE = [b":", b": keep-alive", b"id: 7", b"id", b"retry: 10", b"retry: x", b"event: message", b"foo", b"foo: bar", b""]
BREACHES = {Flaw.GARBAGE, Flaw.SHORT_LENGTH}
Ending = Literal["keep", "close", "reset"]


class Expected(NamedTuple):
    """What a sample must contain. `gaps` is the number of ITLs."""

    error: str | None = None
    answer: str = ""
    reasoning_chars: int = 0
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One event and its content."""

    data: str
    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    counts: tuple[int, int, int | None, int | None] | None = None
    done: bool = False
    error: str | None = None


class Case(NamedTuple):
    """What a server sends, write by write, how it ends, and the expected result."""

    writes: tuple[bytes, ...]
    ending: Ending
    expected: Expected
    description: str
    may_lose: bool = False  # HTTP is broken: what came just before may be missing


def make_case(rng: random.Random) -> Case:
    """A random case."""
    steps = _steps(rng)
    body, ends = _serialize(steps, rng)
    framing = rng.choice(list(Framing))
    cut = rng.randrange(len(body) + 1) if rng.random() < 0.35 else None
    sent = wire(body, framing, cut, rng)
    arrived = [step for step, end in zip(steps, ends, strict=True) if end <= sent.arrived]
    expected = outcome(arrived, clean=sent.clean)
    cuts: list[Ending] = ["close", "reset"] if sent.ended else ["close"]
    ending: Ending = "keep" if sent.complete and rng.random() < 0.7 else rng.choice(cuts)
    description = f"{framing.name} cut={cut} of {len(body)} {sent.flaw} {ending}"
    return Case(_split(sent, rng), ending, expected, description, may_lose=sent.flaw in BREACHES)


def outcome(steps: Sequence[Step], *, clean: bool) -> Expected:
    """The expected result of the events that arrived whole. `clean`: whether the body ended as HTTP requires."""
    found, outputs, done, error = Expected(), 0, False, None
    for step in steps:
        done, error = step.done, step.error
        if done or error:
            break
        outputs += bool(step.text or step.reasoning)
        found = found._replace(
            answer=found.answer + step.text,
            reasoning_chars=found.reasoning_chars + len(step.reasoning),
            finish_reason=step.finish or found.finish_reason,
        )
        if step.counts is not None:
            names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
            found = found._replace(**dict(zip(names, step.counts, strict=True)))  # type: ignore[arg-type]
    if error is None and not done and not (clean and found.finish_reason):
        error = "cut_stream"
    if error is None and not outputs:
        hidden, whole = found.reasoning_tokens or 0, found.completion_tokens or 0
        thought = found.finish_reason == "length" and hidden > 0 and 2 * hidden >= whole
        error = "reasoning_only" if thought else "empty"
    return found._replace(error=error, gaps=0 if error else outputs - 1)


def _steps(rng: random.Random) -> list[Step]:
    steps = [_chunk({"role": "assistant", "content": ""})] if rng.random() < 0.7 else []
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        text = "".join(rng.choices(SYLLABLES, k=rng.choice([1, 2, 9])))
        kind = rng.choice(["content", "content", "content", "reasoning_content", "reasoning"])
        escaped = rng.random() < 0.3
        step = _chunk({kind: text}, ascii_only=escaped, indent=rng.choice([None, None, 1]))
        text = text if escaped else text.replace(BROKEN, "\ufffd" * 3)
        steps.append(replace(step, text=text) if kind == "content" else replace(step, reasoning=text))
    reason = rng.choice(["stop", "length"])
    steps.append(replace(_chunk({}, reason), finish=reason))
    if rng.random() < 0.8:
        steps.append(_usage(rng))
    if rng.random() < 0.7:
        steps.append(Step("[DONE]", done=True))
    if rng.random() < 0.15:
        broken = [Step("{oops", error="malformed"), Step('{"error": {"code": 500}}', error="error_event")]
        steps.insert(rng.randrange(len(steps) + 1), rng.choice(broken))
    return steps


def _chunk(
    delta: dict[str, object], reason: str | None = None, *, ascii_only: bool = True, indent: int | None = None
) -> Step:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return Step(json.dumps({"choices": [choice]}, ensure_ascii=ascii_only, indent=indent))


def _usage(rng: random.Random) -> Step:
    prompt, completion, cached, reasoning = (rng.randrange(10_000) for _ in range(4))
    usage: dict[str, object] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if rng.random() < 0.5:
        return Step(json.dumps({"choices": [], "usage": usage}), counts=(prompt, completion, None, None))
    usage["prompt_tokens_details"] = {"cached_tokens": cached}
    usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return Step(json.dumps({"choices": [], "usage": usage}), counts=(prompt, completion, cached, reasoning))


def _serialize(steps: Sequence[Step], rng: random.Random) -> tuple[bytes, list[int]]:
    """The body, and for each step the number of bytes after which its event is complete."""
    newlines = rng.choice([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n", b"\r"]])
    noisy = rng.random() < 0.5
    body = bytearray(b"\xef\xbb\xbf" if rng.random() < 0.2 else b"")
    ends: list[int] = []

    def line(content: bytes) -> None:
        after_cr = body.endswith(b"\r") and not content
        choices = [b"\r", b"\r\n"] if after_cr else newlines  # a reader would count an LF here to the CR before it
        body.extend(content + rng.choice(choices))

    for step in steps:
        for part in step.data.split("\n"):
            if noisy:
                line(rng.choice(NOISE[:-1]))
            line(rng.choice([b"data: ", b"data:"]) + part.encode().replace(BROKEN.encode(), b"\xff" * 3))
        blank_at = len(body)
        line(b"")
        ends.append(blank_at + 1)
        if noisy and rng.random() < 0.3:
            line(rng.choice(NOISE))
    return bytes(body), ends


def _split(sent: Wire, rng: random.Random) -> tuple[bytes, ...]:
    data, count = sent.data, rng.choice([0, 1, 3, 20])
    if rng.random() < 0.1 and len(data) < 600:
        return tuple(data[i : i + 1] for i in range(len(data)))
    marks = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(count)), len(data)]
    return tuple(data[a:b] for a, b in pairwise(marks) if b > a)
