"""Every text of a prompt is scrubbed, its structure stays, and the same value has one placeholder in a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from slo_bench.errors import SampleError
from slo_bench.sampling.candidate import Candidate, Message
from slo_bench.sampling.rules import DEFAULT_REGIONS, Finder, Finding
from slo_bench.sampling.scrub import RULES, Scrubber, built_in, scrub

FINDERS = built_in(RULES, DEFAULT_REGIONS)
ARGUMENTS = '{"mail": "line\\njane@example.org", "jo@example.org": [4111111111111111, 7, null]}'
PROMPT = Candidate(
    "support",
    stream=True,
    messages=[
        Message("system", "Answer for ops@example.org."),
        Message("user", [{"type": "text", "text": "I am jane@example.org, 192.0.2.7"}]),
        Message(
            "assistant",
            tool_calls=[
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {
                        "name": "find_user",
                        "arguments": ARGUMENTS,
                    },
                }
            ],
        ),
        Message("tool", "not JSON: jane@example.org", tool_call_id="call_1"),
    ],
    tools=[
        {
            "type": "function",
            "function": {
                "name": "find_user",
                "description": "Asks ops@example.org",
                "parameters": {"properties": {"name": {"type": "string", "description": "as +49 30 901820"}}},
            },
        }
    ],
    response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": "of 192.0.2.7"}}},
)


def test_every_text_is_scrubbed_and_nothing_else_changes() -> None:
    clean, replaced = scrub(PROMPT, FINDERS)
    assert clean.messages[0].content == "Answer for <EMAIL_1>."
    assert clean.messages[1].content == [{"type": "text", "text": "I am <EMAIL_2>, <IP_1>"}]
    assert clean.messages[3] == Message("tool", "not JSON: <EMAIL_2>", tool_call_id="call_1")
    assert clean.messages[2].tool_calls is not None
    (call,) = clean.messages[2].tool_calls
    assert (call["id"], call["type"]) == ("call_1", "function")
    assert isinstance(function := call["function"], dict)
    assert function["name"] == "find_user"
    assert json.loads(function["arguments"]) == {"mail": "line\n<EMAIL_2>", "<EMAIL_3>": ["<CARD_1>", 7, None]}
    assert clean.tools == [
        {
            "type": "function",
            "function": {
                "name": "find_user",
                "description": "Asks <EMAIL_1>",
                "parameters": {"properties": {"name": {"type": "string", "description": "as <PHONE_1>"}}},
            },
        }
    ]
    assert json.dumps(clean.response_format) == json.dumps(PROMPT.response_format).replace("192.0.2.7", "<IP_1>")
    assert replaced == {"EMAIL": 6, "IP": 2, "CARD": 1, "PHONE": 1}
    assert (clean.category, clean.stream) == ("support", True)


def test_in_a_schema_and_in_arguments_no_name_is_the_protocols() -> None:
    schema = {"default": {"name": "jane@example.org", "id": "jane@example.org", "jo@example.org": 1}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"id": "jane@example.org \\ud800"}'}}
    prompt = Candidate("chat", False, [Message("assistant", tool_calls=[call])], tools=[tool])
    clean = scrub(prompt, FINDERS)[0]
    assert "example.org" not in str(clean)
    assert "<EMAIL_2>" in str(clean.tools)
    ((cleaned,),) = [message.tool_calls or [] for message in clean.messages]
    assert isinstance(function := cleaned["function"], dict)
    assert json.loads(function["arguments"].encode()) == {"id": "<EMAIL_1> \ud800"}  # half a pair can be written


def test_numbers_start_anew_in_each_prompt() -> None:
    texts = ["a@example.org and b@example.org", "b@example.org"]
    scrubbed = [
        scrub(Candidate("chat", False, [Message("user", text)]), FINDERS)[0].messages[0].content for text in texts
    ]
    assert scrubbed == ["<EMAIL_1> and <EMAIL_2>", "<EMAIL_1>"]


def test_a_prompt_without_secrets_is_the_same() -> None:
    arguments = '{"spaced":   1, "ü": "\\u00fc"}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    plain = Candidate("chat", False, [Message("user", "Hi"), Message("assistant", tool_calls=[call])])
    assert scrub(plain, FINDERS) == (plain, {})


def test_overlapping_findings_go_together_under_the_first_name() -> None:
    def whole(text: str) -> Iterator[Finding]:
        yield 0, len(text) - 1, "NAME"

    assert Scrubber([*FINDERS, whole]).text("Jane <jane@example.org>!") == "<EMAIL_1>!"
    assert Scrubber([whole, *FINDERS]).text("Jane <jane@example.org>!") == "<NAME_1>!"


@pytest.mark.parametrize("finding", [(0, 0, "X"), (-1, 2, "X"), (0, 99, "X"), (0, 1, "x y"), (2, 1, "X")])
def test_a_faulty_scrubber_is_named_and_no_text_is_shown(finding: Finding) -> None:
    def faulty(_: str) -> list[Finding]:
        return [finding]

    finder: Finder = faulty
    with pytest.raises(SampleError, match=r"scrubber .*faulty: .* expected start < end") as caught:
        Scrubber([finder]).text("secret words")
    assert "secret" not in str(caught.value)
