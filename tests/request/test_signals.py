"""Only a clear sign counts as a signal that an answer was bad."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slo_router.request.signals import INVALID_PARAMS, breaks_schema, refused_from

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "object", "required": ["id"]}},
        "any": {"anyOf": [{"type": "string"}], "pattern": "^(a+)+$"},
    },
    "required": ["name"],
}
ASK = {"role": "user", "content": "What is the weather?"}
TOOLS = [{"name": "weather", "input_schema": {"type": "object", "required": ["city"]}}]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a"}',
        ' {"name": "a", "age": null, "more": 1}\n',
        '{"name": "a", "age": 3.0, "tags": [{"id": 1}]}',
        '{"name": "a", "any": 7}',
        '{"name": "a", "any": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}',
    ],
)
def test_what_keeps_its_schema_or_can_not_be_told_breaks_nothing(text: str) -> None:
    assert not breaks_schema(text, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Sure!", '```json\n{"name": "a"}\n```', '{"name": "a"', "[]", '"name"', "{}", '{"name": 1}'),
        *('{"name": null}', '{"name": "a", "age": true}', '{"name": "a", "age": 1.5}', '{"name": "a", "tags": [{}]}'),
        '{"name": "\ud800"}',
    ],
)
def test_no_json_wrong_types_and_lacking_keys_break_it(text: str) -> None:
    assert breaks_schema(text, SCHEMA)


@pytest.mark.parametrize("schema", [None, 7, True, [], {"type": 7}, {"type": "thing"}, {"required": "name"}])
def test_a_schema_that_says_nothing_is_broken_by_nothing(schema: object) -> None:
    assert not breaks_schema("{}", schema)
    assert breaks_schema("{", schema)


def test_an_odd_answer_takes_no_longer_than_any_other() -> None:
    assert not breaks_schema("[" * 50_000 + "]" * 50_000, SCHEMA)  # an answer nested so deeply is not judged
    many: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "array"}}}
    assert not breaks_schema(json.dumps([[[]] * 100] * 300), many)


def anthropic(
    result: dict[str, Any] | None = None, call: dict[str, Any] | None = None, *, with_text: bool = False
) -> list[dict[str, Any]]:
    used = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}, **(call or {})}
    got = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no city", **(result or {})}
    text = [{"type": "text", "text": "go on"}] if with_text else []
    return [ASK, {"role": "assistant", "content": [used]}, {"role": "user", "content": [got, *text]}]


@pytest.mark.parametrize(
    "messages",
    [
        anthropic(),
        anthropic(with_text=True),
        anthropic(call={"name": "nobody", "input": {"city": "Rome"}}),
        anthropic(call={"input": "Rome"}),
        anthropic(
            {"is_error": False, "content": [{"type": "text", "text": f"{INVALID_PARAMS[0]}: Invalid arguments"}]}
        ),
        [
            ASK,
            {"role": "assistant", "tool_calls": [{}]},
            {"role": "tool", "content": f"{INVALID_PARAMS[1]} weather: city"},
        ],
        [
            ASK,
            {"type": "function_call"},
            {"type": "function_call_output", "output": f"{INVALID_PARAMS[1]} weather: city"},
        ],
    ],
)
def test_a_refused_call_is_that_of_the_answer_before(messages: list[dict[str, Any]]) -> None:
    assert refused_from(messages, TOOLS) == 1
    assert refused_from([ASK, {"role": "assistant", "content": "Hm"}, *messages], TOOLS) == 3


@pytest.mark.parametrize(
    "messages",
    [
        anthropic(call={"input": {"city": "Rome"}}),  # the tool failed, and its call was right
        anthropic({"is_error": False}),
        anthropic({"is_error": "true"}),
        anthropic({"tool_use_id": "t2"}),
        anthropic({"tool_use_id": ["t1"]}),
        [*anthropic(), {"role": "assistant", "content": "Which city?"}, {"role": "user", "content": "Rome"}],  # before
        [ASK, {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "Error: no city"}],
        [ASK, {"role": "assistant"}, {"role": "tool", "content": "MCP error -32602: Output validation error: city"}],
        [ASK],
        [{"role": "assistant", "content": "Hi"}],
        [{"role": "user", "content": f"{INVALID_PARAMS[0]}: what does that mean?"}],
        [7],
        "text",
        None,
    ],
)
def test_what_may_be_the_tools_own_fault_refuses_nothing(messages: object) -> None:
    assert refused_from(messages, TOOLS) is None


@pytest.mark.parametrize("tools", [None, [], "weather", [7], [{"name": 7}], [{"name": "weather"}]])
def test_without_the_tools_schema_no_error_is_the_calls(tools: object) -> None:
    assert refused_from(anthropic(), tools) is None
