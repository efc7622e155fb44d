"""Which deployment has a conversation's beginning in its cache: found by the longest, told to others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.ages import CACHE_LASTS_S
from slo_router.request.conversations import MOST, NEWS, NOTHING_CACHED, Cached, Conversations, fingerprints
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
    assert known.find(fingerprints(third)) == Cached("b", 60)  # the longest
    assert known.find(fingerprints([SYSTEM, SECOND])) == NOTHING_CACHED
    assert known.find(fingerprints([FIRST, SYSTEM])) == NOTHING_CACHED


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
    assert len(known._news) == NEWS  # where nobody asks for them


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
