"""The requests that teams really send, and the habits of the endpoints: one source for all studies.

    lengths of prompts, answers   log-normal; location and spread are those of 19,366 requests of a public chat service
                                  (Azure/AzurePublicDataset, 2023, CC BY 4.0); the simulator uses the trace itself
    a model's verbosity           recorded answers of models to the same 2,840 prompts (WildEval/ZeroEval, Apache-2.0):
                                  `python -m evaluation.routing.models`; the factor five of a reasoning model is
                                  assumed, reports say 5 to 20
    refused requests              requests that a provider refuses as wrong nearly always get HTTP 400 (19.4 % of all
                                  failures of a public gateway in April 2026, after 65.8 % rate limits and before 9.4 %
                                  403 and 4.8 % 5xx; requesty.ai/data, CC BY 4.0); their share of requests is assumed
    40 % in one piece, 20 % from  assumed: an independent test of this project sent the same, so that figures compare
    the middle of an agent's
    work, with 30 tools each
    routes, images, limits that   assumed: nobody publishes them; but the API of `/v1/messages` requires `max_tokens`
    clients set, clients that
    hang up

Everything is drawn from the random generator that is passed in, so that the same seed sends the same requests.
"""

from __future__ import annotations

import functools
import json
import math
import random
from typing import Literal, NamedTuple

from evaluation.shared.sample import words

Route = Literal["chat", "messages", "responses"]
Fault = Literal["parameter", "policy", "too_long"]
Json = dict[str, object]

PATHS: dict[Route, str] = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
CALL_TYPES: dict[Route, str] = {"chat": "acompletion", "messages": "anthropic_messages", "responses": "aresponses"}
CHARS_PER_TOKEN = 4  # as the emulated endpoints count
IMAGE_TOKENS = 765  # OpenAI's count for 1024 × 1024 pixels
TOO_LONG_TOKENS = 300_000  # more than any context here
FORBIDDEN = "(content that no provider answers)"
BAD_TEMPERATURE = 9.0

ROUTE_SHARES: dict[Route, float] = {"chat": 0.7, "messages": 0.15, "responses": 0.15}
WHOLE = 0.4
WITH_TOOLS, TOOLS = 0.2, 30
QUESTION_CHARS = 200  # the question in an agent's request; the rest of its text is a tool's answer
TOOL_TOKENS = (40, 80, 150, 300)  # of one tool's schema; applications differ
WITH_IMAGES, MOST_IMAGES = 0.05, 3
FAULTY: dict[Fault, float] = {"parameter": 0.01, "policy": 0.005, "too_long": 0.005}
LEAVES, PATIENCE_S = 0.03, 2.0  # share of streams whose client hangs up; mean seconds until then
SETS_LIMIT, GENEROUS, TIGHT = (
    0.5,
    (1_024, 4_096, 8_192),
    (64, 128, 256),
)  # share of requests with `max_tokens`, if the API does not require it; its values
SETS_TIGHT = 0.2  # share of these with a TIGHT value

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_PROSE = words(200)


class Lengths(NamedTuple):
    """Log-normal tokens: the median, the standard deviation of the logarithm, the longest."""

    median: float
    sigma: float
    most: int

    def draw(self, rng: random.Random) -> int:
        """One length, at least 1."""
        return max(1, min(self.most, round(self.median * math.exp(rng.gauss(0, self.sigma)))))


PROMPTS = Lengths(760, 0.99, 30_000)  # the trace's logarithms have mean 6.63 and deviation 0.99
ANSWERS = Lengths(151, 0.86, 8_000)  # likewise 5.02 and 0.86


class Ask(NamedTuple):
    """A request. `answer_tokens` is what a model of verbosity 1 writes if nothing stops it."""

    route: Route
    stream: bool
    text_tokens: int
    answer_tokens: int
    tools: int = 0
    tool_tokens: int = 0  # of one tool
    images: int = 0
    max_tokens: int | None = None
    fault: Fault | None = None
    leaves_after_s: float | None = None  # the client hangs up if the answer has not ended by then

    @property
    def prompt_tokens(self) -> int:
        """The prompt's tokens, as a server counts them."""
        return self.text_tokens + self.tools * self.tool_tokens + self.images * IMAGE_TOKENS

    @property
    def needs_tokens(self) -> int:
        """The size of the context window that the request needs. A server with less refuses it."""
        return self.prompt_tokens + (self.max_tokens or 1)


class RateLimit(NamedTuple):
    """A provider's rate limit: requests a minute, and at once. `retry_after_s` is `None` if a 429 does not say it."""

    per_minute: float
    burst: int
    retry_after_s: int | None = None


class Habits(NamedTuple):
    """An endpoint's habits, apart from its speed."""

    verbosity: float = 1.0  # tokens of an answer ÷ those of a model of verbosity 1
    wobble: float = 0.0  # standard deviation of the verbosity's logarithm, from prompt to prompt
    limit: RateLimit | None = None
    is_measured: bool = True  # False: a replica that nobody benchmarked
    opens_early: bool = True  # a stream begins at once, with a chunk of only the role

    def answer_tokens(self, ask: Ask, rng: random.Random) -> int:
        """The tokens of this endpoint's answer. Draws no random number if `wobble` is 0."""
        factor = self.verbosity
        if self.wobble:
            factor *= math.exp(rng.gauss(-self.wobble * self.wobble / 2, self.wobble))
        tokens = max(1, round(ask.answer_tokens * factor))
        return tokens if ask.max_tokens is None else min(tokens, ask.max_tokens)


PLAIN = Habits()


def steady(_: random.Random, text_tokens: int, answer_tokens: int) -> Ask:
    """A streamed chat with nothing special."""
    return Ask("chat", stream=True, text_tokens=text_tokens, answer_tokens=answer_tokens)


def mixed(rng: random.Random, text_tokens: int, answer_tokens: int) -> Ask:
    """One request of a team's applications, drawn from all kinds."""
    (route,) = rng.choices(list(ROUTE_SHARES), list(ROUTE_SHARES.values()))
    stream = rng.random() >= WHOLE
    tools = TOOLS if rng.random() < WITH_TOOLS else 0
    images = rng.randint(1, MOST_IMAGES) if rng.random() < WITH_IMAGES else 0
    fault = next(iter(rng.choices([*FAULTY, None], [*FAULTY.values(), 1 - sum(FAULTY.values())])))
    leaves_after_s = rng.expovariate(1 / PATIENCE_S) if stream and rng.random() < LEAVES else None
    return Ask(
        route,
        stream,
        TOO_LONG_TOKENS if fault == "too_long" else text_tokens,
        answer_tokens,
        tools,
        rng.choice(TOOL_TOKENS) if tools else 0,
        images,
        _limit(route, rng),
        fault,
        leaves_after_s,
    )


def _limit(route: Route, rng: random.Random) -> int | None:
    """The client's `max_tokens`."""
    if route == "messages" or rng.random() < SETS_LIMIT:
        return rng.choice(TIGHT if rng.random() < SETS_TIGHT else GENEROUS)
    return None


def body(ask: Ask, model: str, text: str | None = None) -> Json:
    """The body of the request. `text` is the prompt; without it, prose of the request's length."""
    text = prose(CHARS_PER_TOKEN * ask.text_tokens) if text is None else text
    said, found = (text[:QUESTION_CHARS], text[QUESTION_CHARS:]) if ask.tools else (text, "")
    if ask.fault == "policy":
        said = f"{FORBIDDEN} {said}"
    message: Json = {"role": "user", "content": _content(ask, said) if ask.images else said}
    messages = [message, *(_looked_up(ask.route, found) if found else ())]
    if ask.route == "responses":
        made: Json = {"model": model, "input": messages if found or ask.images else said, "stream": ask.stream}
    else:
        made = {"model": model, "messages": messages, "stream": ask.stream}
    if ask.route == "chat" and ask.stream:
        made["stream_options"] = {"include_usage": True}
    if ask.tools:
        made["tools"] = [_tool(ask.route, i, ask.tool_tokens) for i in range(ask.tools)]
    if ask.max_tokens is not None:
        made["max_output_tokens" if ask.route == "responses" else "max_tokens"] = ask.max_tokens
    if ask.fault == "parameter":
        made["temperature"] = BAD_TEMPERATURE
    return made


def prose(chars: int) -> str:
    """Prose of `chars` characters."""
    return (_PROSE * (chars // len(_PROSE) + 1))[:chars]


def _content(ask: Ask, text: str) -> list[Json]:
    """The parts of a message with images, in the route's form."""
    url = f"data:image/png;base64,{_PIXEL}"
    image: Json
    match ask.route:
        case "chat":
            image, kind = {"type": "image_url", "image_url": {"url": url}}, "text"
        case "responses":
            image, kind = {"type": "input_image", "image_url": url}, "input_text"
        case "messages":
            source = {"type": "base64", "media_type": "image/png", "data": _PIXEL}
            image, kind = {"type": "image", "source": source}, "text"
    return [*(image for _ in range(ask.images)), {"type": kind, "text": text}]


def _looked_up(route: Route, found: str) -> list[Json]:
    """An agent's call of its first tool, and the tool's answer `found`."""
    call: Json = {"name": "look_up_0", "arguments": '{"query": "it"}'}
    match route:
        case "chat":
            calls = [{"id": "call_0", "type": "function", "function": call}]
            asked: Json = {"role": "assistant", "content": None, "tool_calls": calls}
            return [asked, {"role": "tool", "tool_call_id": "call_0", "content": found}]
        case "responses":
            asked = {"type": "function_call", "call_id": "call_0", **call}
            return [asked, {"type": "function_call_output", "call_id": "call_0", "output": found}]
        case "messages":
            use = {"type": "tool_use", "id": "call_0", "name": "look_up_0", "input": {"query": "it"}}
            result = {"type": "tool_result", "tool_use_id": "call_0", "content": found}
            return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


@functools.cache
def _tool(route: Route, number: int, tokens: int) -> Json:
    """A function whose schema is JSON of about `tokens` tokens."""
    schema: Json = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    name = f"look_up_{number}"
    plain = len(json.dumps({"name": name, "description": "", "parameters": schema}))
    about = {"name": name, "description": prose(max(0, CHARS_PER_TOKEN * tokens - plain))}
    match route:
        case "chat":
            return {"type": "function", "function": {**about, "parameters": schema}}
        case "responses":
            return {"type": "function", **about, "parameters": schema}
        case "messages":
            return {**about, "input_schema": schema}
