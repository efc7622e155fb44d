"""Faults that one answer shows by itself: each silent failure is named, and odd but sound text is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.checks.answer import FAULTS, Answer
from slo_bench.checks.findings import findings
from slo_bench.checks.repetition import is_looping
from tests.shared.repository import ROOT

PROSE = (
    "The store opens at nine and closes at six; on Sundays it stays shut, as the sign by the door has said since May."
)
LOOP = "The answer is 10 minutes. "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        (f"{PROSE}<|im_end|>", "special_token"),
        ("<|eot_id|>", "special_token"),
        ("<start_of_turn>model\nHello", "special_token"),
        ("[INST] What is it? [/INST] A fish.", "special_token"),
        ("A fish.</s>", "special_token"),
        ("<｜end▁of▁sentence｜>", "special_token"),
        ("ĠtheĠquickĠbrownĠfox", "special_token"),
        ("▁the▁quick▁brown▁fox", "special_token"),
        ("line<0x0A>line", "special_token"),
        ("assistant\nThe lease began in May.", "special_token"),
        ("Sure!\nassistant\n\nSure!", "special_token"),
        ("user\nWhat is it?", "special_token"),
        ("The <|start_header_id, and then", "special_token"),
        ("closely \ufffdwald unpack", "undecodable"),
        ("a\x00b", "undecodable"),
        (LOOP * 8, "looping"),
        (PROSE + LOOP * 5, "looping"),
        ("21... " * 30, "looping"),
        ("是的。我同意你的看法。" * 12, "looping"),
        (
            "".join(
                f"The {word} is in the box on the table by the door. "
                for word in ["cat", "dog", "cow", "owl", "rat", "bee", "ant", "elk", "fox"]
            ),
            "looping",
        ),
    ],
)
def test_a_silent_failure_is_named(text: str, expected: str) -> None:
    assert findings(Answer(text, "length" if expected == "looping" else "stop")) == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "4",
        "Roles:\n- user\n- assistant\n\nuser\nis the second; the assistant answers",
        "f <|x |> g; a <| b",
        "[B-PER] Ada [/B-PER] met <b>Bo</b> & <s>Cy</s> at a < b | c > d",
        "Ġorġ u Ġanni marru l-baħar flimkien illum filgħodu.",
        "sales ▁▂▃▅▆▇ up since March",
        ", ".join(map(str, range(1, 100))),
        "| name | age |\n|---|---|\n| Ada | 36 |\n| Bo | 41 |\n| Cy | 29 |\n| Di | 33 |",
        "| a | b |\n" + "-" * 60,
        "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x - 1\n\n\ndef h(x):\n    return x * 2\n",
        "Half a character at the end, where it was cut: \ufffd",
        "\x1b[31mred\x1b[0m in a terminal",
        "😀😀😀 so glad! 😀😀😀",
    ],
)
def test_odd_but_sound_text_is_left_alone(text: str) -> None:
    assert findings(Answer(text, "stop")) == ()


def test_real_code_and_prose_are_not_looping() -> None:
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("plugin/slo_router/**/*.py"), *ROOT.glob("deploy/**/*.yaml")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    pieces = [text[start : start + 800] for text in texts for start in range(0, len(text) - 800, 4_000)]
    assert len(pieces) > 80
    assert [piece for piece in pieces if is_looping(piece)] == []


def test_what_the_prompt_holds_may_be_repeated() -> None:
    assert findings(Answer("It is <|im_end|>.", "stop", prompt="What ends a ChatML turn, <|im_end|>?")) == ()
    assert findings(Answer("`</s>`", "stop", prompt="Explain </s>.")) == ()
    assert findings(Answer("caf\ufffd is café", "stop", prompt="Repair: caf\ufffd")) == ()


@pytest.mark.parametrize(
    ("text", "finish_reason", "is_broken"),
    [
        ('{"a": [1]}', "stop", False),
        ('```json\n{"a": [1]}\n```', "stop", False),
        ('Here you are:\n```\n{"a": 1}\n```\nGood luck!', "stop", False),
        ('<think>a list?</think>\n{"a": [1]}', "stop", False),
        ('{"a": [1], ', "stop", True),
        ("{'a': 1}", "stop", True),
        ("There are no names.", "stop", True),
        ('{"a": [1], ', "length", False),  # our own max_tokens cut it
        ("[" * 100_000, "stop", True),
    ],
)
def test_json_is_read_where_it_was_asked_for(text: str, finish_reason: str, *, is_broken: bool) -> None:
    found = findings(Answer(text, finish_reason, expects_json=True))
    assert ("broken_json" in found) is is_broken
    assert "broken_json" not in findings(Answer(text, finish_reason))


def test_no_text_is_fine_for_a_tool_call_and_while_it_was_still_thinking() -> None:
    assert findings(Answer("", "tool_calls")) == ()
    assert findings(Answer("", "length", reasoning_chars=900)) == ()
    assert findings(Answer(" \n", "length", is_mostly_reasoning=True)) == ()
    assert findings(Answer("", "stop", reasoning_chars=900)) == ("empty",)
    assert findings(Answer("", "stop", is_mostly_reasoning=True)) == ("empty",)
    assert findings(Answer("", "length")) == ("empty",)


def test_a_cut_stream_is_truncated_whatever_it_said() -> None:
    assert findings(Answer("{", None, expects_json=True, is_cut=True)) == ("truncated",)


@settings(max_examples=50)
@given(st.text(), st.sampled_from(["stop", "length", "tool_calls", "content_filter", None]), st.text(), st.booleans())
def test_every_text_can_be_checked(text: str, reason: str | None, prompt: str, expects_json: bool) -> None:
    found = findings(Answer(text, reason, prompt, expects_json))
    assert set(found) <= set(FAULTS)
    assert len(set(found)) == len(found)


@settings(max_examples=50)
@given(st.recursive(st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3), max_leaves=9))
def test_all_json_is_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert "broken_json" not in findings(Answer(text, "stop", expects_json=True))


def test_a_very_long_answer_is_checked_in_no_time() -> None:
    assert findings(Answer("ab" * 1_000_000, "length")) == ("looping",)
