"""Histories that only some deployments can read, on every route."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from slo_router.request.forms.gemini import as_chat
from slo_router.request.history import (
    MOST_KEPT,
    NOTHING_KEPT,
    goes_on,
    is_signed,
    kept_by_provider,
    kept_of_answer,
    may_be_signed,
    providers_tools,
    ran_tools,
)

GOOGLES = "https://generativelanguage.googleapis.com"


def user(*parts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "", "thinking_blocks": [{"type": "thinking", "signature": "s"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "s"}]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "d"}]},
        {"role": "assistant", "content": "", "provider_specific_fields": {"thought_signatures": ["s"]}},
        {"role": "assistant", "tool_calls": [{"id": "1", "provider_specific_fields": {"thought_signature": "s"}}]},
        {"type": "reasoning", "encrypted_content": "e", "summary": []},
        {"type": "compaction", "encrypted_content": "e"},
        {"role": "assistant", "content": [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}]},
        {"role": "assistant", "content": [{"type": "web_search_tool_result", "content": [{"encrypted_content": "e"}]}]},
        {"role": "assistant", "content": [{"type": "bash_code_execution_tool_result", "content": {}}]},
        {"role": "assistant", "content": "", "provider_specific_fields": {"web_search_results": [{}]}},
    ],
)
def test_what_a_model_signed_or_encrypted_is_found(message: dict[str, object]) -> None:
    assert is_signed([{"role": "user", "content": "Hi."}, message, {"role": "user", "content": "Go on."}])


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "text",
        [],
        ["text"],
        [{"role": "user", "content": [{"type": "thinking"}]}],  # not a model's answer
        [{"role": "assistant", "content": "plain", "thinking_blocks": []}],
        [{"role": "assistant", "content": None, "tool_calls": None}],
        [{"type": "reasoning", "summary": []}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]}],
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "web_search", "input": {}}]}],
    ],
)
def test_what_everybody_can_read_is_not(messages: object) -> None:
    assert not is_signed(messages)


@pytest.mark.parametrize(
    ("request_", "may"),
    [
        ({"thinking": {"type": "enabled"}}, True),
        ({"reasoning_effort": "low"}, True),
        ({"include": ["reasoning.encrypted_content"], "store": False}, True),
        ({"include": ["message.output_text.logprobs"]}, False),
        ({"include": "all"}, False),
        ({"tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}]}, True),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, True),
        ({"tools": [{"type": "web_search"}, None, {"type": 7}]}, False),  # OpenAI's, which any deployment can read
        ({"tools": "all", "container": "container_1"}, True),
        ({}, False),
    ],
)
def test_who_asks_for_thinking_may_get_something_signed(request_: dict[str, object], may: bool) -> None:
    assert may_be_signed(request_) is may


@pytest.mark.parametrize(
    "request_",
    [
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1", "variables": {"a": "b"}}},
        {"container": "container_1"},
        {"input": [{"role": "user", "content": "Hi."}, {"type": "item_reference", "id": "msg_1"}]},
        {"cachedContent": "cachedContents/1"},
        {"input": user({"type": "input_file", "file_id": "file-1"})},
        {"input": user({"type": "input_image", "file_id": "file-1", "detail": "auto"})},
        {"messages": user({"type": "file", "file": {"file_id": "file-1"}})},
        {"messages": user({"type": "document", "source": {"type": "file", "file_id": "file_1"}})},
        {"messages": user({"type": "container_upload", "file_id": "file_1"})},
        {"contents": [{"parts": [{"fileData": {"mimeType": "image/png", "fileUri": f"{GOOGLES}/v1beta/files/1"}}]}]},
        {"contents": [{"parts": [{"file_data": {"file_uri": f"{GOOGLES}/v1beta/files/1"}}]}]},
        {"input": "Hi.", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        {"input": "Hi.", "tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
        {
            "input": "Hi.",
            "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}],
        },
    ],
)
def test_what_a_provider_keeps_is_named_and_its_size_unknown(request_: dict[str, object]) -> None:
    found = kept_by_provider(as_chat(request_))
    assert len(found) == 1
    assert found != kept_by_provider({"conversation": "conv_2"})
    assert goes_on(request_, found)


def test_of_many_files_the_latest_are_looked_up_each_once() -> None:
    turns = [*user({"type": "input_file", "file_id": "file-0"}), *user({"type": "input_file", "file_id": "file-1"})]
    one, other = (kept_by_provider({"input": [turn]}) for turn in turns)
    assert kept_by_provider({"input": [*turns, *turns]}) == [*other, *one]
    many = [{"type": "input_file", "file_id": f"file-{number}"} for number in range(1_000)]
    assert len(kept_by_provider({"input": user(*many)})) == MOST_KEPT


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"prompt": "Once upon a time"},
        {"prompt": ["a"], "conversation": "", "container": {"skills": []}},
        {"input": "Hi."},
        {"input": [{"type": "item_reference", "id": 7}, {"id": "msg_1"}, None]},
        {"input": user({"type": "input_file", "file_id": 7}, {"type": "input_file", "file_id": ""}, None)},
        {
            "messages": user({"type": "file", "file": {"file_id": "https://example.org/a.pdf"}})
        },  # LiteLLM takes addresses
        {"messages": user({"type": "file", "file": {"file_id": "bGl0ZWxsbV9wcm94eTphcHBsaWNhdGlvbi9wZGY"}})},  # its own
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}}]}]},
        {"tools": [None, {"container": {"type": "auto"}}, {"vector_store_ids": "vs_1"}, {"vector_store_ids": [7, ""]}]},
    ],
)
def test_whatever_else_is_kept_nowhere(request_: dict[str, object]) -> None:
    request_ = dict(as_chat(request_))
    assert kept_by_provider(request_) == []
    assert not goes_on(request_, kept_by_provider(request_))


def test_the_last_item_of_a_stored_response_is_what_the_next_request_refers_to() -> None:
    items = [{"type": "reasoning", "id": "rs_1"}, {"type": "message", "id": "msg_1"}]
    referring = {"input": [{"type": "item_reference", "id": one["id"]} for one in items]}
    assert [kept_of_answer({"output": items})] == kept_by_provider(referring)
    others: list[object] = [None, {"output": []}, {"output": items, "store": False}, {"output": [{"type": "message"}]}]
    for answer in others:
        assert kept_of_answer(answer) == NOTHING_KEPT


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"output": [{"type": "web_search_call"}, {"type": "message"}]}, {}),
        ({"output": [{"type": "code_interpreter_call"}]}, {}),
        ({"content": [{"type": "server_tool_use", "name": "web_search"}, {"type": "text", "text": "Yes."}]}, {}),
        ({"choices": [{"message": {"content": "Yes.", "annotations": [{"type": "url_citation"}]}}]}, {}),
        ({"choices": [{"message": {"provider_specific_fields": {"web_search_results": [{}]}}}]}, {}),
        ({"candidates": [{"content": {}, "groundingMetadata": {"webSearchQueries": ["news"]}}]}, {}),
        (None, {"server_tool_use": {"web_search_requests": 1}}),
        ("", {"prompt_tokens_details": {"web_search_requests": 2}}),
    ],
)
def test_an_answer_for_which_the_provider_ran_its_tools_is_told_apart(
    answer: object, usage: Mapping[str, object]
) -> None:
    assert ran_tools(answer, usage)


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (None, {}),
        ({"output": [{"type": kind} for kind in ("function_call", "local_shell_call", "message", "reasoning")]}, {}),
        ({"content": [{"type": "tool_use", "name": "find"}, "text", None]}, {"server_tool_use": None}),
        ({"choices": [{"message": {"content": "Yes.", "annotations": [], "tool_calls": [{}]}}, None]}, {}),
        ({"output": "text", "choices": {}, "candidates": [None, {}]}, {"server_tool_use": {"web_search_requests": 0}}),
    ],
)
def test_an_answer_without_them_is_one_as_any_other(answer: object, usage: Mapping[str, object]) -> None:
    assert not ran_tools(answer, usage)


def test_who_may_search_before_the_first_token_is_known_by_the_request() -> None:
    functions = [{"type": "function"}, {"type": "local_shell"}, {"name": "f", "input_schema": {}}, None]
    googles = {"contents": "Hi", "tools": [{"google_search": {}}]}
    own = {"contents": "Hi", "tools": [{"functionDeclarations": [{"name": "f"}]}]}
    assert providers_tools({"web_search_options": {"search_context_size": "low"}}) == (True, True)
    assert providers_tools(as_chat(googles)) == (True, True)
    for kind in ("web_search", "web_search_20250305", "mcp", "code_interpreter"):
        assert providers_tools({"tools": [*functions, {"type": kind}]}) == (True, False)  # it seldom does
    for request in ({}, {"web_search_options": None, "tools": functions}, as_chat(own)):
        assert providers_tools(request) == (False, False)
