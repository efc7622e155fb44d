"""What an emulated model says: a deterministic function of its name and the prompt.

The length depends only on the prompt and on the endpoint's mean and sigma, so a study knows it beforehand. The text
starts with the model's name, so a client sees who answered. No two chunks in a row are the same, because LiteLLM ends
a stream that repeats one chunk 100 times. A prompt may have a mark: `#` and eight hexadecimal digits. Then the text
starts with the mark too, and its words depend on nothing else of the prompt. So a client notices an answer to another
request, or one that mixes two answers.
"""

import re
from dataclasses import dataclass
from math import ceil, exp, hypot
from statistics import NormalDist
from typing import Literal
from zlib import crc32

from .spec import EndpointSpec

FinishReason = Literal["stop", "length", "tool_calls"]

# 59 different words: a prime, so that every stride walks through all of them before it meets one again.
_TEXT = """
each request goes where its limits are met at the lowest price while one queue stays short and every answer keeps
a shape that clients expect because no router reads load cost quality then picks some of several models so users
see steady speed under changing traffic with fewer surprises on their monthly bill for tokens they use today
"""
_WORDS = _TEXT.split()
THINKING = {"none": 0.0, "minimal": 0.0, "low": 0.3, "medium": 1.0, "high": 3.0}  # × the endpoint's mean, by effort
_MARK = re.compile(r"#[0-9a-f]{8}\b")


@dataclass(frozen=True, slots=True)
class Ask:
    """What the emulator takes from a request body, whatever the route."""

    prompt: str
    max_tokens: int | None
    stream: bool
    include_usage: bool
    tool: str | None  # the function to call if the client requires a tool call
    other_tokens: int = 0  # of tools and images
    effort: str | None = None  # of thinking; `None` is `medium`

    @property
    def prompt_tokens(self) -> int:
        """The size of the prompt."""
        return token_count(self.prompt) + self.other_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer in the pieces of its stream: the first token alone, then `tokens_per_chunk` in each piece."""

    id: str
    model: str
    created: int  # Unix seconds
    pieces: tuple[str, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    tool: str | None  # the function that is called: the pieces are its arguments
    tokens: int  # hidden reasoning and all pieces
    hidden_tokens: int = 0
    cached_tokens: int | None = None  # of the prompt; `None` if the endpoint has no prefix cache

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)


def mark_of(prompt: str) -> str | None:
    """The mark that a study put into the prompt."""
    found = _MARK.search(prompt)
    return None if found is None else found[0]


def token_count(text: str) -> int:
    """Tokens of a text, estimated as a quarter of its characters, at least 1."""
    return max(1, ceil(len(text) / 4))


def output_tokens(prompt: str, mean: int, sigma: float = 0.0) -> int:
    """Tokens of the whole answer to this prompt, at least 1: see EndpointSpec."""
    place = (crc32(prompt.encode()) + 0.5) / 2**32  # uniform in 0 to 1
    if not sigma:
        return max(1, round(mean * (0.5 + place)))
    return max(1, round(mean * exp(sigma * NormalDist().inv_cdf(place) - sigma * sigma / 2)))


def words(name: str, prompt: str, count: int) -> tuple[str, ...]:
    """The model's name, then words from the list. The prompt sets the stride, which changes in each round."""
    mark = mark_of(prompt)
    seed, size = crc32((mark or prompt).encode()), len(_WORDS)

    def word(position: int) -> str:
        turn, step = divmod(position, size)
        return _WORDS[(seed + step * (1 + (seed + turn) % (size - 1))) % size]

    opening = f"[{name}] " if mark is None else f"[{name}] {mark} "
    return (opening, *(word(i) + " " for i in range(1, count)))


def compose(ask: Ask, spec: EndpointSpec, *, answer_id: str, created: int, room: int) -> Answer:
    """An endpoint's answer, cut at `room` or the client's token limit. A tool call is never cut short."""
    pieces: tuple[str, ...]
    reason: FinishReason
    hidden = 0
    if spec.thought_tokens:
        hidden = round(output_tokens(ask.prompt, spec.thought_tokens) * THINKING.get(ask.effort or "medium", 1.0))
    if ask.tool is not None:
        pieces, reason = ('{"answer', '": "', f"[{spec.name}]", '"}'), "tool_calls"
        tokens = len(pieces)
    else:
        allowed = room if ask.max_tokens is None else min(room, ask.max_tokens)
        hidden = min(hidden, allowed - 1)
        wanted = output_tokens(ask.prompt, spec.output_tokens, spec.output_sigma)
        tokens, reason = min(wanted, allowed - hidden), "stop" if wanted <= allowed - hidden else "length"
        pieces = grouped(words(spec.name, ask.prompt, tokens), spec.tokens_per_chunk)
    written = hidden + tokens
    return Answer(answer_id, spec.name, created, pieces, reason, ask.prompt_tokens, ask.tool, written, hidden)


def grouped(pieces: tuple[str, ...], size: int) -> tuple[str, ...]:
    """The first piece alone, the others joined in groups of `size`."""
    return (pieces[0], *("".join(pieces[i : i + size]) for i in range(1, len(pieces), size)))


def embedding(text: str, dimensions: int = 8) -> list[float]:
    """A unit vector that depends on the text alone."""
    raw = [crc32(f"{i}:{text}".encode()) / 2**31 - 1 for i in range(dimensions)]
    norm = hypot(*raw)
    return [x / norm for x in raw]
