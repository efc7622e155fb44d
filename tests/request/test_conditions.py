"""A condition tells a category by a request's properties, on every route, whatever its text says."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.settings.group import GroupSettings
from slo_router.request.categories import rules
from slo_router.request.conditions import SYSTEM_CHARS, rule_of
from slo_router.request.features import extract
from slo_router.request.usage import Learned
from tests.request.test_features import user

SYSTEM = "You sort invoices."
DIGEST = sha256(SYSTEM.encode()).hexdigest()
FOLDER = "Working directory: /home/ann\nToday's date: 2026-12-01"
WHOLE = sha256((SYSTEM + FOLDER).encode()).hexdigest()
CHAT_SCHEMA = {"type": "json_schema", "json_schema": {"name": "invoice", "schema": {}}}
SENT = {"headers": {"x-app": "billing"}}


def claude_code(request_id: str) -> list[dict[str, object]]:
    """Claude Code's system prompt: billing line, identity, and where it works."""
    said = f"x-anthropic-billing-header: cc_version=2.1.15.{request_id}; cc_entrypoint=cli; cch=00000;", SYSTEM, FOLDER
    cached = {"cache_control": {"type": "ephemeral"}}
    return [{"type": "text", "text": text, **(cached if number else {})} for number, text in enumerate(said)]


def told(when: object, request: Mapping[str, object]) -> str | None:
    rule = rule_of(GroupSettings.model_validate({"categories": {"own": {"when": when}}}).categories)
    assert rule is not None
    return rule(request)


@pytest.mark.parametrize(
    ("when", "request_", "holds"),
    [
        ({"header": {"X-App": "billing"}}, {"proxy_server_request": SENT}, True),
        ({"header": {"x-app": "*"}}, {"proxy_server_request": SENT}, True),
        ({"header": {"x-app": "billin"}}, {"proxy_server_request": SENT}, False),
        ({"header": {"x-other": "*"}}, {"proxy_server_request": SENT}, False),
        ({"tag": "billing"}, {"metadata": {"tags": ["x", "billing"]}}, True),
        ({"tag": "billing"}, {"litellm_metadata": {"tags": ["billing"]}, "metadata": {"user_id": "u"}}, True),
        ({"tag": "bill"}, {"metadata": {"tags": ["billing"]}}, False),
        ({"tool": "look_up"}, {"tools": [{"type": "function", "function": {"name": "look_up"}}]}, True),
        ({"tool": "look_up"}, {"tools": [{"name": "look_up", "input_schema": {}}]}, True),  # Anthropic
        ({"tool": "look_up"}, {"functions": [{"name": "look_up"}]}, True),
        ({"tool": "web_search"}, {"tools": [{"type": "web_search"}]}, True),
        ({"tool": "*"}, {"tools": [{"type": "function", "function": {"name": "any"}}]}, True),
        ({"tool": "*"}, {"tools": []}, False),
        ({"json_schema": "invoice"}, {"response_format": CHAT_SCHEMA}, True),
        ({"json_schema": "invoice"}, {"text": {"format": {"type": "json_schema", "name": "invoice"}}}, True),
        ({"json_schema": "*"}, {"response_format": {"type": "json_schema"}}, True),
        ({"json_schema": "*"}, {"response_format": {"type": "json_object"}}, False),
        ({"json_schema": "order"}, {"response_format": CHAT_SCHEMA}, False),
        ({"system_sha256": DIGEST}, {"messages": [{"role": "system", "content": SYSTEM}]}, True),
        ({"system_sha256": DIGEST[:8]}, {"messages": [{"role": "developer", "content": [{"text": SYSTEM}]}]}, True),
        ({"system_sha256": DIGEST[:8]}, {"system": SYSTEM, "messages": user("hi")}, True),
        ({"system_sha256": DIGEST[:8]}, {"instructions": SYSTEM, "input": "hi"}, True),
        ({"system_sha256": DIGEST[:8]}, {"messages": [{"role": "system", "content": SYSTEM + "\n"}]}, False),
        ({"system_sha256": DIGEST[:8]}, {"messages": user(SYSTEM)}, False),
        ({"system_sha256": DIGEST[:8]}, {"system": claude_code("7c4"), "messages": user("hi")}, True),
        ({"system_sha256": WHOLE}, {"system": claude_code("7c4"), "messages": user("hi")}, True),
        ({"system_sha256": WHOLE}, {"system": claude_code("91a"), "messages": user("hi")}, True),
        ({"system_sha256": DIGEST}, {"messages": [{"role": "system", "content": claude_code("7c4")}]}, True),
        ({"tag": "a", "tool": "*"}, {"metadata": {"tags": ["a"]}}, False),  # all parts of a condition must hold
        ([{"tag": "b"}, {"tag": "a"}], {"metadata": {"tags": ["a"]}}, True),  # one of a list is enough
    ],
)
def test_a_condition_holds(when: object, request_: Mapping[str, object], holds: bool) -> None:
    assert told(when, request_) == ("own" if holds else None)


def test_of_a_long_system_prompt_the_beginning_counts() -> None:
    begun = "x" * SYSTEM_CHARS
    when = {"system_sha256": sha256(begun.encode()).hexdigest()}
    assert told(when, {"system": begun + "anything"}) == "own"
    assert told(when, {"system": "y" + begun}) is None


def test_the_first_condition_of_the_file_counts_and_none_is_no_rule() -> None:
    named = {"b": {"when": {"tool": "*"}}, "a": {"when": {"tag": "t"}}}
    rule = rule_of(GroupSettings.model_validate({"categories": named}).categories)
    assert rule is not None
    both = {"tools": [{"type": "x"}], "metadata": {"tags": ["t"]}}
    assert (rule(both), rule({"metadata": {"tags": ["t"]}}), rule({})) == ("b", "a", None)
    assert rule_of(GroupSettings.model_validate({"categories": {"legal": ["clause"]}}).categories) is None


def test_client_then_condition_then_text() -> None:
    rule = rule_of(GroupSettings.model_validate({"categories": {"own": {"when": {"tag": "t"}}}}).categories)
    text = user("Summarize this in one sentence.")
    for client, tags, expected in (
        ("chat", ["t"], ("chat", "client")),
        (None, ["t"], ("own", "rule")),
        (None, [], ("summarization", "categorizer")),
    ):
        found = extract({"messages": text, "metadata": {"tags": tags}}, rules(), client, Learned(), rule)
        assert (found.category, found.category_source) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tags", "name", "function"]), inner),
    max_leaves=6,
)
PLACES = ("proxy_server_request", "metadata", "litellm_metadata", "tools", "functions", "response_format", "text")


@given(st.dictionaries(st.sampled_from([*PLACES, "messages", "system", "input"]), JSON))
def test_garbage_is_no_condition_that_holds_and_raises_nothing(request_: dict[str, object]) -> None:
    when = [{"header": {"a": "b"}}, {"tag": "b~"}, {"tool": "b~"}, {"json_schema": "b~"}, {"system_sha256": "0" * 64}]
    assert told(when, request_) is None
