"""Suite files: what they may contain, what an error says, and that a model can pass the shipped suite."""

from __future__ import annotations

import json

import pytest

from slo_bench.errors import SuiteError
from slo_bench.grading.graders import Exact, Grader, Numeric, Pattern, SetF1
from slo_bench.quality.suite import Suite, load_suite, parse_suite

ITEM = {
    "id": "one",
    "category": "ner",
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "q"}],
    "grader": {"type": "exact", "expected": "a"},
}


def jsonl(*entries: object) -> Suite:
    return parse_suite("\n".join(map(json.dumps, entries)), "s.jsonl")


def test_yaml_and_jsonl_hold_the_same_fields() -> None:
    assert parse_suite(json.dumps({"items": [ITEM]}), "s.yaml") == jsonl(ITEM)
    assert jsonl(ITEM).items[0].question().content() == {
        "messages": [{"role": "user", "content": "q"}],
        "max_tokens": 8,
        "temperature": 0,
    }


def test_parameters_are_sent_as_they_are_and_null_leaves_one_out() -> None:
    (item,) = jsonl(ITEM | {"parameters": {"temperature": None, "seed": 3}}).items
    assert item.question().parameters == {"seed": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "two words"}, r"s\.jsonl:1\.id: 'two words', expected"),
        ({"category": "NER"}, r"s\.jsonl:1\.category"),
        ({"max_tokens": 0}, r"s\.jsonl:1\.max_tokens: 0, expected"),
        ({"messages": []}, r"s\.jsonl:1\.messages"),
        ({"grader": {"type": "exact"}}, r"s\.jsonl:1\.grader\.exact\.expected: missing"),
        ({"grader": {"type": "numeric", "expected": 1, "tol": 2}}, r"grader\.numeric\.tol: unknown key"),
        ({"parameters": {"model": "x"}}, "parameters without 'model'"),
        ({"weight": 2}, r"weight: unknown key, expected one of id, category"),
    ],
)
def test_a_bad_item_is_named_by_line_and_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        jsonl(ITEM | change)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "s.jsonl", "no items"),
        ("{", "s.jsonl", "s.jsonl:1: not valid JSON"),
        ("items: {", "s.yaml", "not valid YAML"),
        ("prompts: []", "s.yaml", "one key, `items`"),
        ("items: []", "s.yaml", "no items"),
        (f"items:\n- {json.dumps(ITEM)}\n\n- {{}}", "s.yaml", r"s\.yaml:4\.id: missing"),
        ("\n".join([json.dumps(ITEM)] * 2), "s.jsonl", "id 'one' is used twice"),
    ],
)
def test_a_bad_file_is_named(text: str, name: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_suite(text, name)


def test_the_fingerprint_changes_with_a_grader_and_not_with_the_order() -> None:
    two = ITEM | {"id": "two"}
    assert jsonl(ITEM, two).fingerprint("ner") == jsonl(two, ITEM).fingerprint("ner")
    changed = two | {"grader": {"type": "exact", "expected": "b"}}
    assert jsonl(ITEM, two).fingerprint("ner") != jsonl(ITEM, changed).fingerprint("ner")


def test_the_shipped_suite_has_200_items_a_category_and_each_can_be_passed() -> None:
    suite = load_suite(None)
    assert suite.categories == ("ner", "summarization", "reasoning")
    assert {len(suite.of_category(name)) for name in suite.categories} == {200}
    for item in suite.items:
        grader: Grader = item.grader
        match grader:
            case Exact(expected=[right, *_]):
                answer = right
            case Numeric(expected=number):
                answer = f"#### {number}"
            case SetF1(expected=fields):
                answer = json.dumps(fields)
            case Pattern():  # its facts are in the text, if not within the first words
                grader = grader.model_copy(update={"max_words": None})
                answer = item.messages[-1].content
            case other:
                raise AssertionError(other)
        assert grader.score(answer) == 1, item.id
