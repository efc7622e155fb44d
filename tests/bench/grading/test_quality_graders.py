"""Every grader on answers as models give them: right, wrong, wrapped, cut, hostile."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from slo_bench.grading.extraction import f1, pairs, set_f1
from slo_bench.grading.graders import Grader, PatternTimeoutError, Pure
from slo_bench.grading.json_text import json_in
from slo_bench.grading.numeric import number_in
from slo_bench.grading.text import first_words, normalised, without_reasoning

READ = TypeAdapter[Pure](Grader)  # type: ignore[arg-type]  # the pure ones alone are read here


def grader(kind: str, expected: object, **options: object) -> Pure:
    return READ.validate_python({"type": kind, "expected": expected, **options})


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Paris", 1),
        ("  **paris**.\n", 1),
        ('"PARIS"', 1),
        ("\uff30aris", 1),  # a full-width P
        ("Paris, France", 0),
        ("The capital is Paris", 0),
        ("", 0),
        ("Lutetia", 1),
    ],
)
def test_exact_takes_the_same_text_normalised(answer: str, score: float) -> None:
    assert grader("exact", ["Paris", "lutetia"]).score(answer) == score


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("The answer is 1,234.50 dollars.", 1234.5),
        ("1'000'000 people", 1_000_000),
        ("1\u202f234", 1234),
        ("1_234", 1234),
        ("3,14", 14),  # a comma is no decimal point
        ("1,2345", 2345),  # four digits are no group of thousands
        ("x = -3", -3),
        ("x = \u22123", -3),
        ("from 10-12", 12),
        ("5 - 3", 3),
        ("it is -$7", -7),
        ("(5)", 5),
        ("18.", 18),
        ("50%", 50),
        (".5", 0.5),
        ("1.5e3 m", 1500),
        ("12:30", 30),
        ("#### 72\n", 72),
        ("2 + 2 = 4\n#### 4 apples, not 5", 4),
        ("#### 3/4", 0.75),
        ("#### 1/0", 0),  # is no number, so the last number counts
        (r"so \boxed{\frac{3}{4}}, as in 2020", 0.75),
        (r"\boxed{1} or rather \boxed{-1{,}234}", -1234),
        (r"\boxed{\text{none}} 5", 5),
        (f"#### {'9' * 5_000}/3", float("inf")),  # more digits than an int may have
        ("none at all", None),
        ("", None),
        ("#### ", None),
    ],
)
def test_the_number_of_an_answer(answer: str, number: float | None) -> None:
    assert number_in(answer) == number


@pytest.mark.parametrize(
    ("expected", "options", "answer", "score"),
    [
        (0.3, {}, "0.1 + 0.2 = 0.30000000000000004", 1),
        (0.3, {}, "0.31", 0),
        (0.3, {"tolerance": 0.01}, "0.31", 1),
        (200, {"relative_tolerance": 0.1}, "219", 1),
        (200, {"relative_tolerance": 0.1}, "1e999", 0),
        (7, {}, "seven", 0),
    ],
)
def test_numbers_within_their_tolerance(expected: float, options: dict[str, object], answer: str, score: float) -> None:
    assert grader("numeric", expected, **options).score(answer) == score


def test_patterns_count_by_their_share_within_the_length() -> None:
    summary = grader("regex", ["(?i)bridge", "closed", "April"], forbidden="(?i)sorry", max_words=5)
    assert summary.score("The BRIDGE is closed until April") == pytest.approx(2 / 3)  # April is the sixth word
    assert summary.score("Bridge closed until April") == 1
    assert summary.score("Bridge closed until April. And much more, sorry") == 0
    assert summary.score("") == 0


def test_a_pattern_that_explodes_is_at_fault_and_ends() -> None:
    with pytest.raises(PatternTimeoutError):
        grader("regex", "^(a|aa)+$").score("a" * 60 + "!")  # would take years


SCHEMA = {
    "type": "object",
    "required": ["n"],
    "properties": {"n": {"$ref": "#/$defs/n"}},
    "$defs": {"n": {"minimum": 2}},
}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"n": 2}', 1),
        ('Sure!\n```json\n{"n": 3}\n```\nAnything else?', 1),
        ('The object is {"n": 4}.', 1),
        ('{"n": 1}', 0),
        ('{"n": 2', 0),
        ('{"n": NaN}', 0),
        ('{"m": 2}', 0),
        ("[" * 100_000, 0),
        ('{"n": ' + "9" * 5_000 + "}", 0),  # more digits than Python reads
        ("", 0),
    ],
)
def test_json_under_a_schema(answer: str, score: float) -> None:
    assert grader("json_schema", SCHEMA).score(answer) == score


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("null", None),
        ("```\n[1]\n```\nor better\n```json\n[2]\n```", [2]),
        ("use {braces} or [1, 2]", [1, 2]),
        ('```json\n{"a": 1}', {"a": 1}),  # the fence was never closed
    ],
)
def test_json_in_words(answer: str, value: object) -> None:
    assert json_in(answer) == value


EXPECTED = {"persons": ["Ada Byron", "Bo"], "places": []}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ({"persons": ["bo", "ADA  Byron."], "places": []}, 1.0),
        ({"persons": ["Bo", "Bo"], "places": []}, 2 / 3),  # found 1 of 2, nothing wrong
        ({"persons": ["Bo"], "places": ["Ada Byron"]}, 0.5),  # right value, wrong field
        ({"persons": "Bo", "places": None}, 2 / 3),
        ({"persons": ["Bo", "Ada Byron"], "places": [], "dates": ["May"]}, 1.0),  # a field that was not asked for
        ({"places": []}, 0.0),
        (["Bo"], 0.0),
        ({"persons": {"Bo": 1}, "places": [3]}, 0.0),
    ],
)
def test_extraction_by_field(answer: object, score: float) -> None:
    assert grader("set_f1", EXPECTED).score(json.dumps(answer)) == pytest.approx(score)


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    nothing = grader("set_f1", {"persons": []})
    assert (nothing.score('{"persons": []}'), nothing.score('{"persons": ["Bo"]}')) == (1, 0)
    assert nothing.score("nobody") == 0


VALUES = st.dictionaries(st.sampled_from("ab"), st.lists(st.sampled_from(["x", "y", "X ", "z", ""])))


@settings(max_examples=50)
@given(VALUES, VALUES)
def test_f1_is_a_share_and_takes_both_sides_alike(one: dict[str, list[str]], other: dict[str, list[str]]) -> None:
    assert 0 <= f1(pairs(one), pairs(other)) <= 1
    assert f1(pairs(one), pairs(other)) == f1(pairs(other), pairs(one))
    assert (f1(pairs(one), pairs(other)) == 1) == (pairs(one) == pairs(other))
    assert set_f1(one, one) == 1


@settings(max_examples=50)
@given(st.text())
def test_no_answer_breaks_a_grader(answer: str) -> None:
    graders = [
        grader("exact", "a"),
        grader("numeric", 1),
        grader("regex", "a+"),
        grader("json_schema", SCHEMA),
        grader("set_f1", EXPECTED),
    ]
    assert all(0 <= one.score(answer) <= 1 for one in graders)
    assert normalised(normalised(answer)) == normalised(answer)
    assert first_words(answer, 10_000).split() == answer.split()


@pytest.mark.parametrize(
    ("kind", "expected", "message"),
    [
        ("regex", "(", "a regular expression"),
        ("numeric", "7", "valid number"),
        ("numeric", float("nan"), "finite number"),
        ("json_schema", {"type": "thing"}, "a valid JSON Schema"),
        ("json_schema", {"$ref": "https://example.com/schema"}, "leads nowhere"),
        ("json_schema", {"$ref": "#/$defs/missing"}, "leads nowhere"),
        ("json_schema", {"$ref": "#"}, "a schema that ends"),
        ("set_f1", {}, "at least 1"),
        ("exact", [], "at least 1"),
        ("guess", "x", "does not match any of the expected tags"),
    ],
)
def test_a_grader_that_cannot_work_is_refused_beforehand(kind: str, expected: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        grader(kind, expected)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>4? no, 5</think>\n5", "5"),
        ("4? no, 5</think>5", "5"),  # templates that open the thoughts themselves
        ("<think>still at it", ""),
        ("a <think> in the middle", "a <think> in the middle"),
    ],
)
def test_thoughts_are_no_part_of_the_answer(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer
