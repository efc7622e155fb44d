"""A workload file becomes prompts, or an error that names file, line and field; a salt comes before everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slo_bench.errors import WorkloadError
from slo_bench.prompts.workload import Prompt, load_workload, parse_workload

GOOD = {"category": "ner", "max_tokens": 8, "messages": [{"role": "user", "content": "Find names."}]}


def line(**changes: object) -> str:
    return json.dumps({**GOOD, **changes})


def test_the_shipped_workload_has_ten_or_more_prompts_in_each_of_three_categories() -> None:
    workload = load_workload(None)
    assert workload.categories == ("ner", "summarization", "reasoning")
    for category in workload.categories:
        prompts = workload.of_category(category)
        sizes = [len(str(prompt.messages[-1]["content"])) for prompt in prompts]
        assert len(prompts) >= 10
        assert len({str(prompt.messages) for prompt in prompts}) == len(prompts)
        assert max(sizes) > 5 * min(sizes)


def test_yaml_and_jsonl_hold_the_same_fields(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("prompts:\n  - " + line())
    (tmp_path / "w.jsonl").write_text(line() + "\n\n")
    assert load_workload(tmp_path / "w.yaml") == load_workload(tmp_path / "w.jsonl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(max_tokens=0), "w.jsonl:1.max_tokens: 0, expected greater than 0"),
        (line(max_tokens="8"), "w.jsonl:1.max_tokens: '8', expected a valid integer"),
        (line() + "\n" + line(category="a b"), "w.jsonl:2.category: 'a b', expected"),
        (line(category="a:b"), "w.jsonl:1.category"),
        (line(category="NER"), "w.jsonl:1.category"),
        (line(temperature=1), "w.jsonl:1.temperature: unknown key"),
        (line(messages=[]), "w.jsonl:1.messages"),
        (line(messages=[{"role": "user"}]), "w.jsonl:1.messages.0.content: missing"),
        (line(messages=[{"role": "user", "content": ""}]), "w.jsonl:1.messages.0.content: '', expected text"),
        (line(messages=[{"role": "bot", "content": "x"}]), "w.jsonl:1.messages.0.role: 'bot', expected 'system'"),
        ("[1]", "w.jsonl:1: [1], expected"),
        ('{"category": "ner"', "w.jsonl:1: not valid JSON"),
        ("\n\n", "w.jsonl: no prompts"),
    ],
)
def test_a_bad_line_is_named_with_its_field(text: str, expected: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_workload(text, "w.jsonl")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"# mine\nprompts:\n  - {line()}\n  - {line(max_tokens=-1)}\n", "w:4.max_tokens"),
        (f"prompts:\n  - {line()}\nextra: 1\n", "w: expected a mapping with one key"),
        ("- 1\n", "w: expected a mapping"),
        ("", "w: expected a mapping"),
        ("prompts: 3\n", "w: expected a mapping"),
        ("prompts: []\n", "w: no prompts"),
        ("prompts: [\n", "w: not valid YAML"),
    ],
)
def test_a_bad_yaml_entry_is_named_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_workload(text, "w")
    assert expected in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"missing\.yaml: No such file"):
        load_workload(tmp_path / "missing.yaml")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff")
    with pytest.raises(WorkloadError, match="not UTF-8"):
        load_workload(tmp_path / "latin.jsonl")


def test_the_salt_is_the_first_text_of_the_first_message_and_changes_nothing_else() -> None:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    prompt = Prompt("chat", messages, 8)
    assert prompt.salted("5a17") == [{"role": "system", "content": "5a17\nBe brief."}, messages[1]]
    assert prompt.messages == messages


def test_the_salt_goes_before_content_parts_too() -> None:
    part = {"type": "text", "text": "Hi"}
    prompt = Prompt("chat", ({"role": "user", "content": [part]},), 8)
    assert prompt.salted("5a17") == [{"role": "user", "content": [{"type": "text", "text": "5a17"}, part]}]
