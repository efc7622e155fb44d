"""Which histories only some deployments can read, on every route."""

from __future__ import annotations

import pytest

from slo_router.request.history import is_signed, may_be_signed


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
        [{"role": "user", "content": [{"type": "thinking"}]}],  # nobody's answer
        [{"role": "assistant", "content": "plain", "thinking_blocks": []}],
        [{"role": "assistant", "content": None, "tool_calls": None}],
        [{"type": "reasoning", "summary": []}],
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
        ({}, False),
    ],
)
def test_who_asks_for_thinking_may_get_something_signed(request_: dict[str, object], may: bool) -> None:
    assert may_be_signed(request_) is may
