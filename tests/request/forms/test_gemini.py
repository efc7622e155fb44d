"""How a request in Gemini's own form is read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Features
from slo_router.decision.groups import default_rules
from slo_router.request.conditions import answer_form
from slo_router.request.conversations import fingerprints
from slo_router.request.features import extract
from slo_router.request.forms.gemini import as_chat
from slo_router.request.history import is_signed
from slo_router.request.usage import Learned

ASK = "Summarize this in one sentence: it rained."
SIGNED = {"text": "Hm.", "thoughtSignature": "c2lnbmVk"}


def read(**body: object) -> Features:
    """The features of a request."""
    return extract(as_chat({"contents": [said(ASK)], **body}), default_rules(), None, Learned())


def said(*parts: object, role: str = "user") -> dict[str, object]:
    """A content."""
    return {"role": role, "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def test_a_request_in_another_form_is_left_as_it_came() -> None:
    request = {"messages": [{"role": "user", "content": ASK}], "contents": None}
    assert as_chat(request) is request


@pytest.mark.parametrize("contents", [[said(ASK)], said(ASK), ASK, [ASK], [{"parts": {"text": ASK}}]])
def test_contents_may_be_written_shorter(contents: object) -> None:
    features = read(contents=contents)
    assert (features.category, features.text_tokens) == ("summarization", read().text_tokens)


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_a_system_instruction_counts(name: str) -> None:
    assert read(**{name: {"parts": [{"text": "word " * 400}]}}).text_tokens == read().text_tokens + 504


@pytest.mark.parametrize(
    ("file", "needs", "counts"),
    [
        ({"mimeType": "image/png", "data": "A" * 4_000}, {"vision"}, (1, 0)),
        ({"mime_type": "application/pdf", "data": "A" * 4_000}, {"pdf"}, (0, 1)),
        ({"mimeType": "audio/mp3", "data": "A" * 4_000}, {"audio"}, (0, 0)),
        ({"mimeType": "video/mp4", "fileUri": "files/1"}, {"video"}, (0, 0)),
        ({}, {"pdf"}, (0, 1)),
    ],
)
@pytest.mark.parametrize("field", ["inlineData", "file_data"])
def test_a_file_is_no_text(field: str, file: Mapping[str, str], needs: set[str], counts: tuple[int, int]) -> None:
    features = read(contents=[said(ASK, {field: file})])
    assert (features.needs, features.images, features.files) == (needs, *counts)
    assert features.text_tokens == read().text_tokens


def test_a_file_of_text_counts_what_it_holds() -> None:
    features = read(contents=[said(ASK, {"inlineData": {"mimeType": "text/plain", "data": "A" * 4_000}})])
    assert (features.needs, features.text_tokens) == (frozenset(), read().text_tokens + 750)


def test_calls_of_tools_and_what_they_answered_count_and_are_no_instruction() -> None:
    call = said({"functionCall": {"name": "read", "args": {"path": "word " * 400}}}, role="model")
    answer = said({"functionResponse": {"name": "read", "response": {"output": "prove it " * 400}}})
    features = read(contents=[said(ASK), call, answer])
    assert features.category == "summarization"
    assert features.text_tokens == pytest.approx(read().text_tokens + 500 + 900, abs=10)


def test_a_picture_that_a_tool_answers_is_one() -> None:
    """From Gemini 3 on it stands in the answer, before beside it."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "A" * 4_000}}
    answer = {"name": "read", "response": {"output": "1 item"}}
    within = said({"functionResponse": {**answer, "parts": [picture]}})
    for contents in ([within], [said({"functionResponse": answer}, picture)]):
        features = read(contents=[said(ASK), *contents])
        assert (features.needs, features.images) == ({"vision"}, 1)


def test_limits_schema_and_thinking_are_those_of_the_config() -> None:
    config = {"maxOutputTokens": 50, "candidateCount": 2, "responseModalities": ["AUDIO"]}
    schema, thinking = {"type": "OBJECT"}, {"thinkingBudget": 1_024}
    features = read(config={**config, "responseSchema": schema, "thinkingConfig": thinking})
    assert (features.limit_tokens, features.choices, features.effort) == (50, 2, "~1024")
    assert features.needs == {"json_schema", "audio_output"}
    assert read(config={"thinkingConfig": {"thinkingLevel": "LOW"}}).effort == "low"
    assert read(generationConfig={"maxOutputTokens": 50}).limit_tokens == 50
    assert (read().limit_tokens, read().choices, read().effort, read().needs) == (None, 1, "", frozenset())


def test_functions_have_their_names_and_sizes_and_so_has_what_google_runs() -> None:
    functions = [{"name": name, "description": "reads " * 50} for name in ("read", "write")]
    tools = as_chat({"contents": ASK, "tools": [{"functionDeclarations": functions}, {"googleSearch": {}}]})["tools"]
    assert tools == [*({"type": "function", "function": one} for one in functions), {"type": "googleSearch"}]
    assert read(tools=[{"function_declarations": functions}]).tool_tokens == pytest.approx(190, abs=20)
    assert read(tools=[{"googleSearch": {}}]).needs == {"tools"}


@pytest.mark.parametrize("part", [SIGNED, {"functionCall": {"name": "read"}, "thought_signature": "c2lnbmVk"}])
def test_a_signed_history_is_signed(part: Mapping[str, object]) -> None:
    def messages(*parts: object) -> object:
        return as_chat({"contents": [said(ASK), said(*parts, role="model"), said("And?")]})["messages"]

    assert is_signed(messages(part))
    assert not is_signed(messages("Hm."))


def test_the_turns_of_a_conversation_know_each_other() -> None:
    first = [said(ASK)]
    (beginning,) = fingerprints(as_chat({"contents": first})["messages"])
    later = as_chat({"contents": [*first, said("It did.", role="model"), said("And?")]})
    assert beginning in fingerprints(later["messages"])
    assert answer_form(later) is None


NAMES = st.sampled_from(
    (
        *("parts", "role", "text", "inlineData", "fileData", "mimeType", "data", "functionCall", "functionResponse"),
        *("thoughtSignature", "functionDeclarations", "thinkingConfig", "responseModalities", "responseSchema"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(JSON, JSON, JSON, JSON)
def test_no_request_raises_anything(contents: object, config: object, tools: object, system: object) -> None:
    read(contents=contents, config=config, tools=tools, systemInstruction=system)
