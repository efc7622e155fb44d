"""Weak signals lower a quality if a group asks for them, on the stock proxy. Nothing else is counted.

The group `overheard` asks for all signals. Its cheap deployment never answers in JSON, and its tool calls have no
argument that the tool knows. Its other deployment, `overheard-odd`, answers in JSON. Each test has its own category.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx
import pytest

from slo_router.contract.keys import IMPLICIT_KEY
from slo_router.worker.learning.implicit import AGAIN_AFTER_S
from tests.e2e.conftest import ASK, Stack
from tests.e2e.test_routes import ROUTES
from tests.shared.particular_server import GOOD, Particular, refuse, whole
from tests.shared.scripted_server import DONE, chunk, delta, stream, usage

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "who", "schema": SCHEMA}}}
TEXT_FORM = {"text": {"format": {"type": "json_schema", "name": "who", "schema": SCHEMA}}}
TOOLS = {
    "tools": [{"name": "who", "description": "Who it is.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
}
BEST = "0.95"
JSON = whole(stream(chunk(delta(content='{"name": "Bob"}')), chunk(delta("stop")), chunk(usage(12, 5)), DONE))


@pytest.fixture
def overheard(stack: Stack, odd: Particular) -> Iterator[Stack]:
    odd.answers = lambda _: JSON
    yield stack
    odd.answers = lambda _: GOOD
    for key in stack.redis.scan_iter(f"{IMPLICIT_KEY}*"):
        stack.redis.delete(key)


def asked(stack: Stack, path: str, body: Mapping[str, object], category: str, **headers: str) -> httpx.Response:
    answer = stack.post(path, {"model": "overheard", **body}, x_slo_category=category, **headers)
    assert answer.is_success, answer.text
    return answer


def chat(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def counted(stack: Stack) -> dict[str, tuple[float, float]]:
    """By deployment and category: the number of checked answers, and of those with a signal."""
    found: dict[str, tuple[float, float]] = {}
    for day in stack.redis.scan_iter(f"{IMPLICIT_KEY}:*"):
        fields = cast("dict[str, str]", stack.redis.hgetall(day))
        for cell in {field.rpartition(":")[0] for field in fields}:
            answers, score = float(fields[f"{cell}:answers"]), float(fields[f"{cell}:score"])
            before = found.get(cell, (0.0, 0.0))
            found[cell] = before[0] + answers, before[1] + answers - score
    return found


def until(stack: Stack, category: str, answers: int, signals: int, name: str = "overheard-small") -> None:
    """Waits for `answers` checked answers of a category, and then for their signals."""
    deadline_s = time.monotonic() + 60
    while (found := counted(stack).get(f"{name}:{category}")) != (answers, signals):
        assert time.monotonic() < deadline_s, f"{found}, expected {answers} answers and {signals} signals"
        time.sleep(0.1)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_breaks_its_schema_is_counted_on_either_route(overheard: Stack, *, is_stream: bool) -> None:
    category, body = "ner" if is_stream else "code", {"stream": is_stream}
    asked(overheard, "/v1/chat/completions", {**chat("Who is it?"), **FORM, **body}, category)
    asked(overheard, "/v1/responses", {"input": "Who is it?", **TEXT_FORM, **body}, category)
    asked(overheard, "/v1/chat/completions", {**chat("Who?"), **body}, category)
    until(overheard, category, answers=3, signals=2)


def test_an_answer_that_keeps_its_schema_is_looked_at_and_no_more(overheard: Stack) -> None:
    asked(overheard, "/v1/chat/completions", {**chat("Who?"), **FORM, "stream": True}, "ner", x_slo_min_quality=BEST)
    until(overheard, "ner", answers=1, signals=0, name="overheard-odd")


def test_what_nobody_asked_to_count_and_what_is_private_is_not_counted(overheard: Stack) -> None:
    broken = {**chat("Who is it?"), **FORM}
    for _ in range(3):
        assert overheard.ask(model="smart", body=broken).is_success
        asked(overheard, "/v1/chat/completions", broken, "chat", x_slo_private="true")
        asked(overheard, "/v1/chat/completions", {**broken, "metadata": {"slo_private": True}}, "chat")
    asked(overheard, "/v1/chat/completions", chat("Who is it, then?"), "chat")
    until(overheard, "chat", answers=1, signals=0)
    assert set(counted(overheard)) == {"overheard-small:chat"}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_a_refused_call_is_counted_for_who_made_it(overheard: Stack, *, is_stream: bool) -> None:
    category, text = "ner" if is_stream else "code", f"Who is it? {is_stream}"
    body: dict[str, object] = {"max_tokens": 100, **TOOLS, "stream": is_stream}
    marked = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    first = asked(overheard, "/v1/messages", {**body, "messages": [{"role": "user", "content": marked}]}, category)
    assert "tool_use" in first.text
    until(overheard, category, answers=1, signals=0)  # it is over
    used = {"type": "tool_use", "id": "t1", "name": "who", "input": {"answer": "[small]"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "name is missing"}
    told = [
        {"role": "user", "content": text},  # clients move the marks of their cache
        {"role": "assistant", "content": [used]},
        {"role": "user", "content": [result]},
    ]
    asked(overheard, "/v1/messages", {**body, "messages": told}, category)
    until(overheard, category, answers=2, signals=1)


def test_the_same_prompt_again_is_counted_once_and_not_after_an_error(overheard: Stack, odd: Particular) -> None:
    bodies = {path: renamed(body, f"To {path}: ") for path, body in ROUTES.items()}
    for path, body in bodies.items():
        asked(overheard, path, body, "summarization")
    for _ in range(2):  # a client that samples
        asked(overheard, "/v1/chat/completions", chat("Twice"), "reasoning")
    asked(overheard, "/v1/chat/completions", picture("A"), "reasoning")
    overheard.endpoints["small"].control("error500")
    odd.answers = lambda _: refuse(500, "broken")
    failed = overheard.ask("Broken", model="overheard", x_slo_category="reasoning")
    assert failed.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    overheard.endpoints["small"].control("ok")
    until(overheard, "summarization", answers=len(ROUTES), signals=0)
    time.sleep(AGAIN_AFTER_S + 0.5)  # after this time a user may have read the answer
    asked(overheard, "/v1/chat/completions", chat("Broken"), "reasoning")  # the client's own retry
    asked(overheard, "/v1/chat/completions", picture("B"), "reasoning")  # the next document
    for _ in range(2):
        for path, body in bodies.items():
            asked(overheard, path, body, "summarization")
    until(overheard, "summarization", answers=3 * len(ROUTES), signals=len(ROUTES))
    until(overheard, "reasoning", answers=5, signals=0)


def picture(drawn: str) -> dict[str, object]:
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + drawn * 400}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is on it?"}, shown]}]}


def renamed(body: Mapping[str, object], head: str) -> dict[str, object]:
    """The body with a prompt that begins with `head`."""
    return cast("dict[str, object]", json.loads(json.dumps(body).replace(ASK, head + ASK)))


def test_a_decision_says_that_what_it_heard_is_weak(overheard: Stack) -> None:
    for number in range(20):
        asked(overheard, "/v1/chat/completions", {**chat(f"Who is {number}?"), **FORM}, "chat")
    until(overheard, "chat", answers=20, signals=20)
    deadline_s = time.monotonic() + 60
    while (found := predicted(overheard))["quality_answers"].get("weak_implicit", 0) < 0.39:  # of 20 answers
        assert time.monotonic() < deadline_s
    (weight,) = found["quality_answers"].values()
    most = 1 - 0.8 * 20 / (weight / 0.02)  # requests that were asked meanwhile have no signal
    assert found["quality"] == pytest.approx(0.9 - weight / (20 + weight) * (0.9 - most), abs=1e-4)
    assert found["quality"] == found["quality_bound"] < 0.9


def predicted(stack: Stack) -> Mapping[str, Any]:
    """What the next decision predicts of `overheard-small`."""
    request_id = asked(stack, "/v1/chat/completions", chat(f"Who? {time.monotonic()}"), "chat").json()["id"]
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        for record in stack._records():
            if record["request_id"] == request_id:
                decision = cast("dict[str, list[dict[str, Any]]]", record["decision"])
                return next(
                    one["predicted"] for one in decision["candidates"] if one["deployment"] == "overheard-small"
                )
        time.sleep(0.05)
    raise AssertionError("no record")
