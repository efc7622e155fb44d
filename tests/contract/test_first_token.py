"""What is a first token, in every form of a stream's pieces, and what only looks like one."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.first_token import Look, delta_has_token, has_token, shows_thought

DELTAS: list[dict[str, object]] = [
    {"content": "a"},
    {"content": " "},
    {"content": [{"type": "text", "text": "a"}]},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]},
    {"reasoning_content": "a"},
    {"reasoning": "a"},
    {"refusal": "a"},
    {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
    {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": ""}}]},
    {"function_call": {"name": "f", "arguments": ""}},
    {"audio": {"id": "1", "transcript": "a"}},
    {"images": [{"type": "image_url"}]},
]
NO_DELTAS: list[dict[str, object]] = [
    {},
    {"role": "assistant"},
    {"role": "assistant", "content": ""},
    {"role": "assistant", "content": None, "refusal": None},
    {"content": [{"type": "text", "text": ""}]},
    {"content": []},
    {"reasoning_content": "", "reasoning": None},
    {"tool_calls": []},
    {"tool_calls": [{"index": 0, "function": {"name": None, "arguments": ""}}]},
    {"function_call": None},
    {"audio": {"id": "1", "transcript": ""}},
]
EVENTS: list[dict[str, object]] = [
    {"choices": [{"index": 0, "text": "a"}]},
    {"choices": [{"index": 0, "text": "", "reasoning_content": "a"}]},
    {"choices": [{"index": 0, "delta": {}}, {"index": 1, "delta": {"content": "a"}}]},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
    {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}},
    {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
    {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}},
    {"type": "content_block_start", "content_block": {"type": "text", "text": "a"}},
    {"type": "response.output_text.delta", "delta": "a"},
    {"type": "response.refusal.delta", "delta": "a"},
    {"type": "response.reasoning_text.delta", "delta": "a"},
    {"type": "response.reasoning_summary_text.delta", "delta": "a"},
    {"type": "response.function_call_arguments.delta", "delta": "{"},
    {"type": "response.output_text.done", "text": "a"},
    {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f", "arguments": ""}},
    {"type": "response.output_item.done", "item": {"type": "local_shell_call", "action": {"command": ["ls"]}}},
    {"type": "response.output_item.done", "item": {"type": "web_search_call", "action": {"query": "a"}}},
    {"type": "response.output_item.done", "item": {"type": "apply_patch_call", "operation": {"diff": "a"}}},
    {"type": "response.output_item.done", "item": {"type": "image_generation_call", "result": "AAAA"}},
    {
        "type": "response.output_item.done",
        "item": {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
    },
    {
        "type": "response.output_item.done",
        "item": {"type": "message", "content": [{"type": "refusal", "refusal": "a"}]},
    },
]
NO_EVENTS: list[dict[str, object]] = [
    {},
    {"choices": []},
    {"choices": None},
    {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {}}}]},
    {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 44}}]},
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
    {"choices": [{"index": 0, "text": ""}]},
    {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
    {"error": {"message": "overloaded"}},
    {"type": "error", "error": {"message": "overloaded"}},
    {"type": "ping"},
    {"type": "message_start", "message": {"content": [], "usage": {"output_tokens": 1}}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "c2VjcmV0"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}},
    {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "c2lnbmVk"}},
    {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "response.created", "response": {"output": []}},
    {"type": "response.in_progress", "response": {"output": []}},
    {"type": "response.output_item.added", "item": {"type": "message", "content": []}},
    {"type": "response.output_item.added", "item": {"type": "reasoning", "summary": [], "encrypted_content": "x"}},
    {"type": "response.output_item.done", "item": {"type": "reasoning", "summary": []}},
    {"type": "response.output_item.done", "item": {"type": "compaction", "encrypted_content": "x"}},
    {"type": "response.output_item.added", "item": {"type": "web_search_call", "status": "in_progress"}},
    {"type": "response.web_search_call.in_progress", "item_id": "ws_1"},
    {"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", "delta": ""},
]


@pytest.mark.parametrize("delta", DELTAS, ids=str)
def test_what_the_model_wrote_is_a_token(delta: dict[str, object]) -> None:
    assert delta_has_token(delta)
    assert has_token({"choices": [{"index": 0, "delta": delta}]})


@pytest.mark.parametrize("delta", NO_DELTAS, ids=str)
def test_what_only_opens_an_answer_is_none(delta: dict[str, object]) -> None:
    assert not delta_has_token(delta)
    assert not has_token({"choices": [{"index": 0, "delta": delta}]})


@pytest.mark.parametrize(
    ("event", "expected"), [*((event, True) for event in EVENTS), *((event, False) for event in NO_EVENTS)], ids=str
)
def test_an_event_is_read_alike_as_json_as_an_object_and_as_bytes(event: dict[str, object], expected: bool) -> None:
    line = b"event: any\ndata: " + json.dumps(event).encode() + b"\n\n"
    assert has_token(event) is expected
    assert has_token(_objects(event)) is expected
    assert Look().finds_token(line) is expected
    assert Look().finds_token(line.decode()) is expected


def test_comments_and_the_end_are_none() -> None:
    look = Look()
    assert not look.finds_token(b": OPENROUTER PROCESSING\n\ndata: [DONE]\n\n")


@given(cuts=st.lists(st.integers(0, 400), max_size=5))
def test_bytes_may_be_cut_anywhere_and_the_token_is_in_the_piece_that_ends_its_line(cuts: list[int]) -> None:
    opening = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in NO_EVENTS[-4:])
    whole = opening + b'data: {"type": "response.output_text.delta", "delta": "a"}\n\n' + opening
    at = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[begin:end] for begin, end in pairwise(at)]
    look = Look()
    found = next(number for number, piece in enumerate(pieces) if look.finds_token(piece))
    line_ends = whole.index(b"\n", len(opening))
    assert at[found] <= line_ends < at[found + 1]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "choices", "delta", "content", "tool_calls", "function", "item"]), inner
        )
    ),
    max_leaves=12,
)


@given(event=JSON, raw=st.binary(max_size=40))
def test_nothing_that_a_server_may_send_breaks_the_look(event: object, raw: bytes) -> None:
    look = Look()
    for piece in (event, raw, b"data: " + raw + b"\n", None, object()):
        assert look.finds_token(piece) in (True, False)


def _objects(value: object) -> object:
    """The value with attributes instead of keys, like LiteLLM's own types."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: _objects(inner) for name, inner in value.items()})
    return [_objects(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("answer", "shows"),
    [
        ({"choices": [{"message": {"content": "a", "reasoning_content": "b"}}]}, True),
        ({"choices": [{"message": {"content": [{"type": "thinking", "thinking": [{"text": "b"}]}]}}]}, True),
        ({"choices": [{"message": {"content": " <think>b</think> a"}}]}, True),
        ({"output": [{"type": "reasoning", "summary": [{"text": "b"}]}]}, True),
        ({"content": [{"type": "thinking", "thinking": "b", "signature": "s"}]}, True),
        ({"choices": [{"message": {"content": "a", "reasoning_content": ""}}]}, False),
        ({"choices": [{"message": {"content": "a", "thinking_blocks": [{"thinking": "", "signature": "s"}]}}]}, False),
        ({"choices": [{"text": "a"}]}, False),
        (
            {"output": [{"type": "reasoning", "summary": [], "encrypted_content": "e"}, {"content": [{"text": "a"}]}]},
            False,
        ),
        ({"content": [{"type": "thinking", "thinking": "", "signature": "s"}, {"type": "text", "text": "a"}]}, False),
        ({"choices": None, "output": "a"}, False),
        ("a", False),
        (None, False),
    ],
)
def test_whether_a_whole_answer_shows_what_was_thought(answer: object, shows: bool) -> None:
    assert shows_thought(answer) is shows
