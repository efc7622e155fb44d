"""Which answers are checked for weak signals: no private one, none of a key that opted out, and none in part."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from slo_router.worker.learning.implicit import Ended
from slo_router.worker.trace import Trace
from tests.shared.builders import decided
from tests.shared.record_builders import BOTH, LARGE, SMALL

with warnings.catch_warnings():  # LiteLLM's own, at import
    warnings.simplefilter("ignore")
    from slo_router.gateway.feedback.overheard import ended_of

ENDED_S = 1_800_000_000.0
EVERY = ["schema_violated", "tool_call_refused", "asked_again"]
MESSAGES = [{"role": "user", "content": "Who is it?"}]
SCHEMA = {"type": "object", "required": ["name"]}
CHAT_FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "who", "schema": SCHEMA}}}
RESPONSES_FORM = {"text": {"format": {"type": "json_schema", "name": "who", "schema": SCHEMA}}}


def chat(content: object = "Hi", finish_reason: str = "stop", **changed: object) -> dict[str, object]:
    message = {"role": "assistant", "content": content, **changed}
    return {"choices": [{"message": message, "finish_reason": finish_reason}]}


def responses(*texts: object) -> dict[str, object]:
    parts = [{"type": "output_text", "text": text} for text in texts]
    return {"status": "completed", "output": [{"type": "reasoning"}, {"type": "message", "content": parts}]}


def looked_at(
    *,
    body: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
    metadata: dict[str, object] | None = None,
    signals: list[str] = EVERY,
    **changed: Any,
) -> Ended | None:
    trace = Trace("acompletion", 5.0, group="smart")
    trace.decision = decided([SMALL, LARGE], snapshot=BOTH)
    for name in ("goes_on", "tells_nothing", "decision"):
        setattr(trace, name, changed.pop(name, getattr(trace, name)))
    payload = {"status": "success", "model_id": "small", "messages": MESSAGES, "response": chat(), **changed}
    sent = {"headers": headers or {}, "body": {"messages": MESSAGES, **(body or {})}}
    return ended_of({"metadata": metadata or {}, "proxy_server_request": sent}, trace, payload, signals, ENDED_S)


def found(**changed: Any) -> Ended:
    ended = looked_at(**changed)
    assert ended is not None
    return ended


def test_an_answer_is_looked_at_with_its_prompt_as_a_hash() -> None:
    ended = found()
    assert (ended.deployment, ended.category, ended.arrived_s, ended.ended_s) == ("small", "ner", 5.0, ENDED_S)
    assert (ended.refused, ended.is_broken, ended.may_repeat) == (None, False, True)
    assert found().turn == ended.turn
    others = [
        found(body={"messages": [{"role": "user", "content": "Who is she?"}]}),
        found(end_user="me"),
        found(metadata=None, body={"system": "Be brief."}),
        found(body={"messages": [*MESSAGES, *MESSAGES]}),
    ]
    assert len({ended.turn, *(one.turn for one in others)}) == 5
    assert found(goes_on=True).turn is None
    assert not found(signals=["schema_violated"]).may_repeat


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": {"x-slo-private": "true"}},
        {"body": {"metadata": {"slo_private": True}}},
        {"metadata": {"user_api_key_metadata": {"slo_shadow_evaluation": "off"}}},
        {"metadata": {"user_api_key_team_metadata": {"slo_shadow_evaluation": "off"}}},
        {"messages": [{"role": "user", "content": "redacted-by-litellm"}]},
        {"messages": "redacted-by-litellm"},
        {"response": chat(finish_reason="length")},
        {"response": chat(finish_reason="content_filter")},
        {"response": "redacted-by-litellm"},
        {"tells_nothing": True},
        {"decision": None},
        {"cache_hit": True},
        {"status": "failure"},
        {"error_str": "Client disconnected"},
    ],
)
def test_what_is_private_or_not_whole_is_not_looked_at(changed: dict[str, Any]) -> None:
    assert looked_at(**changed) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"body": CHAT_FORM, "response": chat("Bob")},
        {"body": CHAT_FORM, "response": chat('{"who": "Bob"}')},
        {"body": RESPONSES_FORM, "response": responses("{}")},
        {"body": RESPONSES_FORM, "response": responses('{"name":', '"Bob"')},
    ],
)
def test_an_answer_that_breaks_its_schema_has_a_signal(changed: dict[str, Any]) -> None:
    assert found(**changed).is_broken
    assert not found(**changed, signals=["asked_again"]).is_broken


@pytest.mark.parametrize(
    "changed",
    [
        {"response": chat("Bob")},
        {"body": CHAT_FORM, "response": chat('{"name": "Bob"}')},
        {"body": RESPONSES_FORM, "response": responses('{"name":', '"Bob"}')},
        {"body": CHAT_FORM, "response": chat("I can't.", refusal="I can't.")},
        {"body": CHAT_FORM, "response": chat(None, "tool_calls", tool_calls=[{}])},
        {"body": CHAT_FORM, "response": chat(None)},
        {"body": CHAT_FORM, "response": chat("redacted-by-litellm")},
        {"body": CHAT_FORM, "response": chat("x" * 200_000)},
        {"body": CHAT_FORM, "response": {"choices": [*chat("x")["choices"], *chat("y")["choices"]]}},  # type: ignore[misc]
        {"body": RESPONSES_FORM, "response": {"status": "completed", "output": [{"type": "message", "content": "x"}]}},
        {"body": RESPONSES_FORM, "response": {"status": "completed", "output": [{"type": "function_call"}]}},
        {"body": {"response_format": {"type": "json_object"}}, "response": chat("Bob")},
    ],
)
def test_an_answer_that_keeps_it_or_is_no_text_has_none(changed: dict[str, Any]) -> None:
    assert "response" not in changed or not found(**changed).is_broken


def test_a_refused_call_points_to_the_prompt_that_it_answered() -> None:
    call = {"type": "tool_use", "id": "t", "name": "who", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "no name"}
    messages = [*MESSAGES, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    asked = {"messages": messages, "tools": [{"name": "who", "input_schema": SCHEMA}]}
    ended = found(body=asked)
    assert ended.refused == found().turn != ended.turn
    assert found(body=asked, signals=["asked_again"]).refused is None
