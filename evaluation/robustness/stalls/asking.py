"""One request over real HTTP as a client sends it, and the content of its answer, on four routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
GROUP = "smart"
TIMEOUT_S = 90.0
MODEL_HEADERS = ("x-slo-selected-model", "x-litellm-model-id")
WORDS = "Tell me in a few words what became of the request that nobody answered."
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
Json = dict[str, Any]


class Question(NamedTuple):
    """A request. No other request has the same `mark`; the client hangs up after `leaves_s`."""

    mark: str
    route: str = "chat"
    stream: bool = True
    leaves_s: float | None = None

    @property
    def body(self) -> Json:
        """The body that the client sends."""
        text = f"{self.mark} {WORDS}"
        sizes = {"responses": "max_output_tokens"}.get(self.route, "max_tokens")
        asked = {"completions": {"prompt": text}, "responses": {"input": text}}
        messages = {"messages": [{"role": "user", "content": text}]}
        return {"model": GROUP, "stream": self.stream, sizes: 64, **asked.get(self.route, messages)}


class Answer(NamedTuple):
    """What the client got, in seconds since the send. `ids` are the ids in the answer: a stream must have one."""

    question: Question
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    text: str = ""
    ids: frozenset[str] = frozenset()
    ttft_s: float | None = None
    is_finished: bool = False
    error: str | None = None

    @property
    def model(self) -> str | None:
        """The deployment that answered, by the headers."""
        return next((self.headers[name] for name in MODEL_HEADERS if name in self.headers), None)


async def ask(client: httpx.AsyncClient, question: Question, headers: Mapping[str, str] = NOTHING_MORE) -> Answer:
    """Sends one request. An error is part of the answer."""
    reading = Reading(question)
    try:
        async with asyncio.timeout(TIMEOUT_S if question.leaves_s is None else question.leaves_s):
            return await _ask(client, reading, headers)
    except TimeoutError:
        return reading.answer("timeout" if question.leaves_s is None else "left")
    except httpx.HTTPError as error:
        return reading.answer(type(error).__name__)


async def _ask(client: httpx.AsyncClient, reading: Reading, headers: Mapping[str, str]) -> Answer:
    question = reading.question
    async with client.stream("POST", PATHS[question.route], json=question.body, headers=dict(headers)) as answer:
        reading.headers = dict(answer.headers)
        if answer.status_code != httpx.codes.OK:
            await answer.aread()
            return reading.answer(f"HTTP {answer.status_code}: {answer.text[:200]}")
        if not question.stream:
            reading.whole(json.loads(await answer.aread()))
        else:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    reading.event(line.removeprefix("data:").strip())
    return reading.answer(reading.error)


class Reading:
    """Reads an answer as it comes."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.headers: dict[str, str] = {}
        self.error: str | None = None
        self._sent_s = perf_counter()
        self._text = ""
        self._ids: set[str] = set()
        self._ttft_s: float | None = None
        self._is_finished = False

    def answer(self, error: str | None) -> Answer:
        """The answer up to now."""
        return Answer(
            self.question, self.headers, self._text, frozenset(self._ids), self._ttft_s, self._is_finished, error
        )

    def event(self, data: str) -> None:
        """Reads one event of a stream."""
        if data == "[DONE]":
            return
        event: Json = json.loads(data)
        if event.get("error") or event.get("type") in ("error", "response.failed"):
            self.error = f"in the stream: {data[:200]}"
        self._note(event)
        if (text := text_of(event)) and self._ttft_s is None:
            self._ttft_s = perf_counter() - self._sent_s
        self._text += text

    def whole(self, answer: Json) -> None:
        """Reads an answer in one piece."""
        self._note(answer)
        self._is_finished = True
        match self.question.route:
            case "messages":
                self._text = "".join(part.get("text", "") for part in answer["content"])
            case "responses":
                self._text = "".join(part["text"] for item in answer["output"] for part in item["content"])
            case "chat":
                self._text = answer["choices"][0]["message"]["content"]
            case _:
                self._text = answer["choices"][0]["text"]

    def _note(self, event: Json) -> None:
        """Notes the event's id, and whether it ends the answer."""
        inner = event.get("message") or event.get("response") or event
        if isinstance(inner, dict) and inner.get("id"):
            self._ids.add(str(inner["id"]))
        ends = any(choice.get("finish_reason") for choice in event.get("choices") or [])
        self._is_finished |= ends or event.get("type") in ("message_stop", "response.completed", "response.incomplete")


def text_of(event: Json) -> str:
    """The text that an event of a stream adds."""
    if "choices" in event:
        said = [(one.get("delta") or {}).get("content") or one.get("text") or "" for one in event["choices"]]
        return "".join(said)
    match event.get("type"):
        case "content_block_delta":
            return str(event["delta"].get("text", ""))
        case "response.output_text.delta":
            return str(event["delta"])
        case _:
            return ""
