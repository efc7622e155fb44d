"""Which deployment has a conversation's beginning in its cache: the longest beginning counts; workers share it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.ages import CACHE_LASTS_S
from slo_router.request.conversations import BEGINNINGS, MOST, NEWS, NOTHING_CACHED, Cached, Conversations, fingerprints
from tests.shared.builders import NOW_S

SYSTEM = {"role": "system", "content": "You are brief."}
FIRST = {"role": "user", "content": "Who wrote Faust?"}
ANSWER = {"role": "assistant", "content": "Goethe."}
SECOND = {"role": "user", "content": "When?"}


def test_the_next_turn_begins_with_what_was_sent_before() -> None:
    known = Conversations()
    known.remember(fingerprints([SYSTEM, FIRST]), Cached("a", 40))
    assert known.find(fingerprints([SYSTEM, FIRST, ANSWER, SECOND])) == Cached("a", 40)
    known.remember(fingerprints([SYSTEM, FIRST, ANSWER, SECOND]), Cached("b", 60))
    third = [SYSTEM, FIRST, ANSWER, SECOND, ANSWER, FIRST]
    assert known.find(fingerprints(third)) == Cached("b", 60)  # the longest beginning
    assert known.find(fingerprints([SYSTEM, SECOND])) == NOTHING_CACHED
    assert known.find(fingerprints([FIRST, SYSTEM])) == NOTHING_CACHED


def test_a_turn_of_any_length_is_found_by_the_last_few_of_its_beginnings() -> None:
    history = [{"role": "user", "content": str(number)} for number in range(40)]
    for length in range(1, len(history) + 1):
        found = fingerprints(history[:length])
        assert len(found) == min(length, BEGINNINGS)
        assert [fingerprints(history[: length - back])[0] for back in range(len(found))] == found


def test_what_differs_in_a_conversation_beside_its_texts_tells_it_from_another() -> None:
    tool = {"type": "function_call_output", "call_id": "1", "output": "4"}
    calls = [{"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"} for name in "ab"]
    kinds = [
        fingerprints([FIRST]),
        fingerprints([FIRST], "Be brief."),
        fingerprints([FIRST], [{"type": "text", "text": "Be long."}]),
        *(fingerprints([FIRST, call, tool]) for call in calls),
        fingerprints([FIRST, calls[0], {**tool, "output": "5"}]),
        fingerprints([FIRST, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}]),
        fingerprints([FIRST, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "2"}]}]),
    ]
    assert len({found[0] for found in kinds}) == len(kinds)


LONG = "x" * 5_000
TEMPLATE = "Summarize what stands between these lines. " * 4 + "{}" + "Write no more than three sentences. " * 4


def document(kind: str, data: str) -> dict[str, object]:
    shapes: dict[str, dict[str, object]] = {
        "text": {"type": "text", "text": TEMPLATE.format(data)},
        "image_url": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "high"}},
        "input_image": {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
        "image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        "input_audio": {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        "file": {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
        "file_id": {"type": "input_file", "file_id": f"file-{data[:20]}"},
    }
    return {"role": "user", "content": [{"type": "text", "text": "Extract the fields."}, shapes[kind]]}


@pytest.mark.parametrize("kind", ["text", "image_url", "input_image", "image", "input_audio", "file", "file_id"])
def test_two_documents_under_one_instruction_are_two_conversations(kind: str) -> None:
    once, again = fingerprints([document(kind, LONG)]), fingerprints([document(kind, LONG)])
    other = fingerprints([document(kind, LONG.replace("x", "y"))])
    assert once == again != other


def test_a_picture_whose_address_is_signed_anew_is_the_same() -> None:
    turns = [
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"https://a/b.png?signed={number}"}}]}]
        for number in range(2)
    ]
    assert fingerprints(turns[0]) == fingerprints(turns[1])


def test_who_refers_to_what_the_server_keeps_is_told_apart_by_it() -> None:
    found = [
        fingerprints([SYSTEM, FIRST, {"type": "item_reference", "id": f"msg_{number}"}, {**SECOND, "content": "Yes."}])
        for number in range(2)
    ]
    assert found[0][0] != found[1][0]


def test_a_responses_input_may_be_a_text_and_instructions_may_begin_with_what_changes() -> None:
    assert fingerprints("Who wrote Faust?") == fingerprints([FIRST])
    said = [[{"text": f"x-billing: {number}"}, {"text": "You are an agent. " * 20}] for number in (123, 456)]
    assert fingerprints([FIRST], said[0]) == fingerprints([FIRST], said[1])


def test_a_broken_slo_frees_the_conversation_here_and_at_those_who_hear_of_it() -> None:
    known, other = Conversations(), Conversations()
    turn = fingerprints([SYSTEM, FIRST])
    known.remember(turn, Cached("a", 40))
    other.absorb(json.loads(json.dumps(known.export())), NOW_S)
    assert other.find(turn) == Cached("a", 40, NOW_S)
    known.release(turn)
    other.absorb(json.loads(json.dumps(known.export())), NOW_S)
    assert known.find(turn) == other.find(turn) == NOTHING_CACHED


def test_memory_and_what_is_told_are_bounded() -> None:
    known = Conversations()
    for number in range(MOST + 10):
        known.remember([number], Cached("a", 1))
    assert known.find([9]) == NOTHING_CACHED
    assert known.find([10]) == Cached("a", 1)
    assert [turn for turn, _, _ in known.export()] == list(range(MOST + 10 - NEWS, MOST + 10))
    assert known.export() == []
    for number in range(2 * NEWS):
        known.remember([number], Cached("a", 1))
    assert len(known._news) == NEWS  # even if no worker fetches the news


def test_what_was_sent_an_hour_ago_is_in_no_prefix_cache_any_more() -> None:
    sent = Cached("a", 40, NOW_S)
    assert sent.counts(NOW_S + CACHE_LASTS_S - 1)
    assert not sent.counts(NOW_S + CACHE_LASTS_S)
    assert not NOTHING_CACHED.counts(NOW_S)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_stands_in_a_request_or_in_redis_is_borne(value: object) -> None:
    known = Conversations()
    known.absorb(value, NOW_S)
    found: Sequence[int] = fingerprints(value)
    assert known.find(found) == NOTHING_CACHED
    fingerprints([{"role": value, "content": value}, {"content": [value, {"text": value}]}])
