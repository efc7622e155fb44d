"""Entries of each kind become prompts that can be sent again. Other entries are counted by reason.

The rows are cut down from what LiteLLM 1.106.2 wrote for real requests on each route.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.prompts.workload import parse_workload
from slo_bench.sampling.candidate import Candidate, LeftOut, Message
from slo_bench.sampling.entries import EntryFilter
from slo_bench.sampling.extraction import Extraction
from slo_bench.sampling.traffic import Kind, kind_of, reader_of, with_kind

HI = [{"role": "user", "content": "Hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": "x"}'}}
GOOD = json.dumps({"category": "chat", "max_tokens": 1, "messages": HI})
RECORD: dict[str, object] = {
    "ts": 1.0, "request_id": "r", "call_type": "acompletion", "model_group": "smart", "category": "ner", "stream": True,
    "prompt_tokens": 5, "completion_tokens": 9, "outcome": "success", "decision": {"candidates": [{}]}, "prompt": HI,
}  # fmt: skip
ROW: dict[str, object] = {
    "request_id": "r", "call_type": "acompletion", "spend": 1e-6, "prompt_tokens": 5, "completion_tokens": 9,
    "status": "success", "cache_hit": "None", "request_tags": ["a"], "messages": {}, "model_group": "smart",
    "metadata": {"spend_logs_metadata": {"slo_router": {"category": "ner"}}},
    "proxy_server_request": {"model": "smart", "messages": HI, "max_tokens": 7, "stream": True},
}  # fmt: skip
LINE: dict[str, object] = {
    "custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "smart", "messages": HI},
}  # fmt: skip
SHORTENED = "aaa... (litellm_truncated skipped 2952 chars. Truncation is a DB storage safeguard.) ...aaa"


def read(
    kind: Kind, entry: dict[str, object], category: str | None = None, group: str | None = None
) -> Candidate | LeftOut:
    return reader_of(kind, EntryFilter(category, group))(json.dumps(entry).encode())


def messages_of(found: Candidate | LeftOut) -> list[Message]:
    assert isinstance(found, Candidate), found
    return found.messages


def body(**fields: object) -> dict[str, object]:
    return {**ROW, "proxy_server_request": fields}


@pytest.mark.parametrize(("entry", "kind"), [(RECORD, Kind.RECORDS), (ROW, Kind.SPEND_LOGS), (LINE, Kind.BATCH)])
def test_the_kind_is_seen(entry: dict[str, object], kind: Kind) -> None:
    assert kind_of(json.dumps(entry).encode()) is kind
    assert kind_of(b'{"model": "x"}') is kind_of(b"[1]") is None


def test_a_record_gives_category_stream_and_sizes() -> None:
    assert read(Kind.RECORDS, RECORD) == Candidate("ner", True, [Message("user", "Hi")], 5, 9)


def test_a_spend_log_gives_the_body_and_the_routers_category() -> None:
    expected = Candidate("ner", True, [Message("user", "Hi")], 5, 9, max_tokens=7)
    assert read(Kind.SPEND_LOGS, ROW) == expected
    as_text = {
        **ROW,
        "metadata": json.dumps(ROW["metadata"]),
        "proxy_server_request": json.dumps(ROW["proxy_server_request"]),
    }
    assert read(Kind.SPEND_LOGS, as_text) == expected


def test_a_batch_line_takes_the_category_of_the_option() -> None:
    assert read(Kind.BATCH, LINE, "chat") == Candidate("chat", False, [Message("user", "Hi")])
    assert read(Kind.BATCH, LINE) is LeftOut.NO_CATEGORY
    assert read(Kind.BATCH, {**LINE, "url": "/v1/embeddings", "body": {"input": "x"}}, "chat") is LeftOut.NOT_CHAT


@pytest.mark.parametrize("category", [None, "unsure", "Not A Name"])
def test_a_request_that_names_no_category_takes_the_options(category: str | None) -> None:
    named = read(Kind.RECORDS, {**RECORD, "category": category}, "chat")
    assert isinstance(named, Candidate)
    assert named.category == "chat"
    assert read(Kind.RECORDS, {**RECORD, "category": category}) is LeftOut.NO_CATEGORY


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"prompt": None}, LeftOut.NO_TEXT),
        ({"prompt": [{"role": "user", "content": "redacted-by-litellm"}]}, LeftOut.NO_TEXT),
        ({"prompt": [{"role": "user", "content": SHORTENED}]}, LeftOut.SHORTENED),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
            LeftOut.MEDIA,
        ),
        ({"prompt": [{"role": "user", "content": [{"type": "input_audio"}]}]}, LeftOut.MEDIA),
        ({"prompt": [{"role": "function", "content": "x"}]}, LeftOut.NOT_CHAT),
        ({"prompt": [[1, 2, 3]]}, LeftOut.NOT_CHAT),
        ({"call_type": "aembedding"}, LeftOut.NOT_CHAT),
        ({"outcome": "error"}, LeftOut.FAILED),
        ({"outcome": "cache_hit"}, LeftOut.CACHED),
        ({"stream": "yes"}, LeftOut.MALFORMED),
    ],
)
def test_what_cannot_be_sampled_is_told_apart(changes: dict[str, object], why: LeftOut) -> None:
    assert read(Kind.RECORDS, {**RECORD, **changes}) is why


def test_spend_logs_without_prompts_failures_and_cache_hits_are_told_apart() -> None:
    assert read(Kind.SPEND_LOGS, body()) is LeftOut.NO_TEXT
    assert read(Kind.SPEND_LOGS, {**ROW, "status": "failure"}) is LeftOut.FAILED
    assert read(Kind.SPEND_LOGS, {**ROW, "cache_hit": "True"}) is LeftOut.CACHED
    assert reader_of(Kind.SPEND_LOGS, EntryFilter())(b"{") is LeftOut.MALFORMED
    assert reader_of(Kind.SPEND_LOGS, EntryFilter())(b'{"call_type": "\xff"}') is LeftOut.MALFORMED


@pytest.mark.parametrize(("entry", "kind"), [(RECORD, Kind.RECORDS), (ROW, Kind.SPEND_LOGS), (LINE, Kind.BATCH)])
def test_only_one_group_can_be_wanted(entry: dict[str, object], kind: Kind) -> None:
    assert isinstance(read(kind, entry, "chat", "smart"), Candidate)
    assert read(kind, entry, "chat", "other") is LeftOut.OTHER_GROUP


def test_a_disconnected_request_has_no_length_of_its_answer() -> None:
    found = read(Kind.RECORDS, {**RECORD, "outcome": "disconnected"})
    assert isinstance(found, Candidate)
    assert found.completion_tokens is None


def test_each_route_becomes_chat_messages() -> None:
    user = [Message("user", "Hi")]
    assert messages_of(read(Kind.SPEND_LOGS, body(prompt="Hi"))) == user
    assert messages_of(read(Kind.SPEND_LOGS, body(prompt=["Hi", "Ho"]))) == [*user, Message("user", "Ho")]
    responses = body(instructions="Be nice", input="Hi")
    assert messages_of(read(Kind.SPEND_LOGS, responses)) == [Message("system", "Be nice"), *user]
    anthropic = body(system=[{"type": "text", "text": "Be nice"}], messages=HI, max_tokens=20)
    assert messages_of(read(Kind.SPEND_LOGS, anthropic)) == [
        Message("system", [{"type": "text", "text": "Be nice"}]),
        *user,
    ]


def test_tool_calls_of_each_protocol_become_those_of_chat_completions() -> None:
    calls = [
        Message("user", "Hi"),
        Message("assistant", tool_calls=[CALL]),
        Message("tool", "found", tool_call_id="c1"),
    ]
    chat = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]
    responses = [
        *HI,
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"q": "x"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
    ]
    use = {"type": "tool_use", "id": "c1", "name": "find", "input": {"q": "x"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "found"}]}
    anthropic = [
        *HI,
        {"role": "assistant", "content": [{"type": "thinking"}, use]},
        {"role": "user", "content": [result]},
    ]
    assert messages_of(read(Kind.SPEND_LOGS, body(messages=chat))) == calls
    assert messages_of(read(Kind.SPEND_LOGS, body(input=responses))) == calls
    assert messages_of(read(Kind.SPEND_LOGS, body(messages=anthropic))) == calls


def test_tools_of_each_protocol_become_those_of_chat_completions() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    function = {"name": "find", "description": "d", "parameters": schema}
    expected = [{"type": "function", "function": function}]
    for tool in (
        {"type": "function", "function": function},
        {"type": "function", **function},
        {"name": "find", "description": "d", "input_schema": schema},
    ):
        found = read(Kind.SPEND_LOGS, body(messages=HI, tools=[tool, {"type": "web_search"}]))
        assert isinstance(found, Candidate)
        assert found.tools == expected


WORDS = st.sampled_from(
    ["role", "user", "tool", "content", "type", "text", "image_url", "tool_use", "input", "tool_calls", "Hi"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_whatever_a_prompt_is_it_is_read_scrubbed_and_written_or_told_apart(value: object) -> None:
    for entry, kind in (
        ({**RECORD, "prompt": value}, Kind.RECORDS),
        (body(messages=value, tools=value, response_format=value, max_tokens=value), Kind.SPEND_LOGS),
        (body(messages=HI, tools=value, instructions=value), Kind.SPEND_LOGS),
        ({**ROW, "metadata": value, "proxy_server_request": value}, Kind.SPEND_LOGS),
    ):
        extraction = Extraction(1, 0, 0, 16)
        extraction.read([json.dumps(entry).encode()], reader_of(kind, EntryFilter("chat")))
        parse_workload("\n".join([GOOD, *extraction.finish([]).lines]), "w.jsonl")


def test_what_is_nested_without_end_or_no_unicode_is_not_readable() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    entry = json.dumps({**RECORD, "prompt": "?"}).encode()
    assert reader_of(Kind.RECORDS, EntryFilter())(entry.replace(b'"?"', deep)) is LeftOut.MALFORMED
    assert with_kind(iter([deep, entry]), Path("x.jsonl"))[0] is Kind.RECORDS
    assert reader_of(Kind.RECORDS, EntryFilter())(entry.replace(b'"?"', b'"\\ud800"')) is LeftOut.MALFORMED


def test_what_is_nested_too_deep_to_be_scrubbed_is_not_stored() -> None:
    nested = b'{"a":' * 900 + b"1" + b"}" * 900
    entry = json.dumps(body(messages=HI, response_format="?")).encode().replace(b'"?"', nested)
    extraction = Extraction(1, 0, 0, 16)
    extraction.read([entry], reader_of(Kind.SPEND_LOGS, EntryFilter("chat")))
    assert extraction.finish([]).lines == ()
    assert extraction.left_out == {LeftOut.MALFORMED: 1}
