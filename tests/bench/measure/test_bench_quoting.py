"""A server's message in a report: short, and without keys, addresses and the prompt."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_bench.measure.excuses import refusal, words_of
from slo_bench.measure.quoting import MOST_CHARS, quoted, texts_of


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Unsupported parameter: 'max_tokens'.", "Unsupported parameter: 'max_tokens'."),
        ("Bad key sk-abcdefghij0123456789xyz!", "Bad key …!"),
        ("Bad key hunter42 of team-blue", "Bad key … of …"),
        ("see https://docs.example/x?y=1 now", "see … now"),
        ("no route to gpu-7.internal.example:8000 or 10.0.0.7", "no route to … or …"),
        ("write to ops@example.com", "write to …"),
        ("cannot parse 'Where does Ada Lovelace live?' here", "cannot parse '…here"),
    ],
)
def test_what_is_private_is_hidden(words: str, shown: str) -> None:
    assert quoted(words, ["hunter42", "team-blue", "of"], "Where does Ada Lovelace live?' ") == shown


def test_a_long_message_is_cut() -> None:
    assert len(quoted("word " * 500, [], "")) == MOST_CHARS


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "No", "param": "n", "type": "bad", "code": None}}, "No (n) (bad)"),
        ({"object": "error", "message": "No"}, "No"),
        ({"error": "No"}, "No"),
        ({"detail": [{"loc": ["body", "n"], "msg": "extra", "input": "the prompt"}]}, "body.n: extra"),
        ({"detail": "Not Found"}, "Not Found"),
        ([], ""),
        (7, ""),
    ],
)
def test_the_message_is_found_in_every_form(body: object, words: str) -> None:
    assert words_of(json.dumps(body)) == words


def test_a_page_has_no_message_and_plain_text_is_one() -> None:
    assert words_of("<html>oops</html>") == ""
    assert words_of("upstream\n said no") == "upstream said no"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 529])
def test_the_servers_own_kind_has_no_excuse(status: int) -> None:
    assert refusal(status, "slow down", "") is None


def test_all_texts_of_messages_are_found() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a\nb"}]}, {"content": None}]
    assert texts_of(parts) == "user text a b "


@given(st.text(), st.text(), st.lists(st.text()))
def test_every_message_can_be_quoted(body: str, prompt: str, secrets: list[str]) -> None:
    assert len(quoted(words_of(body), secrets, prompt)) <= MOST_CHARS
