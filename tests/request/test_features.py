"""What a request looks like to the router, in work that does not grow with the prompt, and from any garbage."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Features
from slo_router.request.categories import article, rules
from slo_router.request.features import (
    CHARS_PER_TOOL,
    MAX_OUTPUT_TOKENS,
    TOKENS_PER_FILE,
    TOKENS_PER_MESSAGE,
    extract,
    measure,
)
from slo_router.request.usage import TOKENS_PER_IMAGE, Learned

categorize = rules()


def features(request: Mapping[str, object], category: str | None = None, learned: Learned | None = None) -> Features:
    return extract(request, categorize, category, learned or Learned())


def user(content: object) -> list[object]:
    return [{"role": "user", "content": content}]


# --- sizes


def test_a_five_megabyte_prompt_keeps_its_category_and_costs_a_quarter_token_per_character() -> None:
    order = "Extract all person names from the text."
    short, long = (
        features({"messages": user(order)}),
        features({"messages": user(order + "\n" + "lorem ipsum dolor " * 280_000)}),
    )
    assert (short.category, long.category) == ("ner", "ner")
    assert short.prompt_tokens == 14  # 39 × 0.25 + 4 = 13.75
    assert long.prompt_tokens == pytest.approx(5_040_040 / 4 + TOKENS_PER_MESSAGE, abs=1)


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        ({"messages": user("x" * 400)}, 104),  # 400 / 4 + 4
        ({"messages": [*user("x" * 400), *user("y" * 40)]}, 118),  # 440 / 4 + 2 × 4
        ({"messages": user([{"type": "text", "text": "x" * 400}])}, 104),
        ({"prompt": "x" * 400}, 104),
        ({"prompt": ["x" * 200, "x" * 200]}, 108),
        ({"input": "x" * 400, "instructions": "x" * 40}, 118),  # Responses: counted as a system message
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 400}]}]}, 104),
        ({"messages": user("x" * 400), "system": [{"type": "text", "text": "x" * 40}]}, 118),  # Anthropic
        ({"prompt": [7] * 100}, 104),  # ids of tokens
        ({"messages": user([[7] * 60, [8] * 40])}, 104),  # a list of prompts, as LiteLLM hands it on
        ({}, 0),
        ({"messages": [], "prompt": None}, 0),
    ],
)
def test_tokens_are_estimated_from_characters_on_every_route(request_: dict[str, object], tokens: int) -> None:
    assert features(request_).prompt_tokens == tokens


LONG = "x" * 400
CALL = {"name": "f", "arguments": LONG}


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL}]}]},
        {"messages": [{"role": "assistant", "content": "", "function_call": CALL}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"custom": {"name": "f", "input": LONG}}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": LONG}]},
        {"input": [{"type": "function_call", "call_id": "c", **CALL}]},
        {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": LONG}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": LONG}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_text", "text": LONG}]}]},
        {"input": [{"type": "local_shell_call", "action": {"type": "exec", "command": ["bash", "-c", LONG]}}]},
        {"input": [{"type": "mcp_call", "name": "f", "arguments": "{}", "output": LONG}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"old": LONG}}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"edits": [{"new": LONG}]}}]}]},
        {"messages": user([{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": LONG}]}])},
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": LONG, "signature": "s"}]}]},
        {"messages": [{"role": "assistant", "content": "", "reasoning_content": LONG}]},
    ],
)
def test_what_was_thought_and_what_tools_were_asked_and_answered_counts_as_text(request_: dict[str, object]) -> None:
    assert features(request_).prompt_tokens == pytest.approx(104, abs=5)


THOUGHT = {"type": "thinking", "thinking": LONG, "signature": "S" * 5_000}
JSON = "application/json"
PDF_URL = "data:application/pdf;base64," + "A" * 4_000
TEXT_URL = f"data:text/csv;base64,{b64encode(LONG.encode()).decode()}"
ENCRYPTED = "g" * 1_400  # 1,400 × 3/4 − 650 = 400 characters


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [{"role": "assistant", "content": [THOUGHT]}]},
        {"messages": [{"role": "assistant", "content": "", "reasoning_content": LONG, "thinking_blocks": [THOUGHT]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "text", "text": LONG, "citations": [CALL]}]}]},
        {"messages": [{"role": "assistant", "content": LONG, "audio": {"id": "a", "data": LONG}}]},
        {"messages": user([{"type": "document", "source": {"type": "text", "data": LONG}}])},
        {"messages": user([{"type": "document", "source": {"type": "content", "content": [{"text": LONG}]}}])},
        {"messages": user([{"type": "file", "file": {"filename": "a.csv", "file_data": TEXT_URL}}])},
        {
            "input": user(
                [{"type": "input_file", "filename": "a.json", "file_data": TEXT_URL.replace("text/csv", JSON)}]
            )
        },
        {"messages": user([{"type": "search_result", "source": "s", "content": [{"type": "text", "text": LONG}]}])},
        {"messages": user([{"type": "web_search_tool_result", "content": [{"encrypted_content": ENCRYPTED}]}])},
        {"input": [{"type": "reasoning", "summary": [], "content": None, "encrypted_content": ENCRYPTED}]},
        {"input": [{"type": "compaction", "encrypted_content": ENCRYPTED}]},
        {"input": [{"type": "apply_patch_call", "operation": {"type": "update_file", "diff": LONG}}]},
        {"input": [{"type": "shell_call", "action": {"commands": [LONG], "timeout_ms": 9}}]},
        {"input": [{"type": "shell_call_output", "output": [{"stdout": LONG, "outcome": {"exit_code": 0}}]}]},
        {"input": [{"type": "code_interpreter_call", "code": LONG, "outputs": None}]},
        {"input": [{"type": "mcp_list_tools", "tools": [{"name": "f", "description": LONG}]}]},
        {"input": [{"type": "kind_of_next_year", "parts": [{"deeper": {"text": LONG}}]}]},
    ],
)
def test_every_text_of_a_history_counts_whatever_it_is_called(request_: dict[str, object]) -> None:
    found = features(request_)
    assert found.prompt_tokens == pytest.approx(104, abs=5)
    assert (found.files, found.needs) == (0, frozenset())


def test_what_a_tool_is_asked_is_text_whatever_it_is_called() -> None:
    use = {"type": "tool_use", "id": "1", "input": {"type": "image", "id": LONG, "data": [LONG]}}
    found = features({"messages": [{"role": "assistant", "content": [use]}]})
    assert (found.images, found.prompt_tokens) == (0, pytest.approx(204, abs=5))


def test_a_picture_that_a_tool_made_is_a_picture() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
    for item in (
        {"type": "computer_call_output", "output": picture},
        {"type": "function_call_output", "output": [picture]},
        {"type": "image_generation_call", "result": "A" * 100_000},
    ):
        found = features({"input": [item]})
        assert (found.images, found.prompt_tokens) == (1, TOKENS_PER_MESSAGE + TOKENS_PER_IMAGE)


def test_a_wide_character_is_about_a_token() -> None:
    assert features({"messages": user("漢字" * 500)}).prompt_tokens == 1_004
    mixed = features({"messages": user("漢abc" * 1_000)}).prompt_tokens  # 1,000 + 3,000 / 4 + 4
    assert mixed == pytest.approx(1_754, rel=0.05)  # a sample tells how many are wide
    assert features({"messages": user("é" * 400)}).prompt_tokens == 104  # an accent is not wide
    many = [*user("→ " * 50), *user("漢字" * 50)] * 200
    assert features({"messages": many}).prompt_tokens == pytest.approx(200 * (37.5 + 100 + 8), rel=0.01)


ARTICLE_1 = {  # of the Universal Declaration of Human Rights; its tokens in the vocabularies o200k and cl100k
    "ar": ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.", 18, 37),
    "de": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt.",
        26,
        28,
    ),
    "el": ("Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.", 31, 76),
    "he": ("כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.", 31, 85),
    "hi": ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।", 25, 84),
    "ja": ("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。", 35, 45),
    "ko": ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", 24, 41),
    "ru": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью.",
        28,
        51,
    ),
    "th": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม", 40, 89),
    "vi": ("Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.", 22, 38),
    "zh": ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。", 37, 52),
}


@pytest.mark.parametrize("language", ARTICLE_1)
def test_a_text_in_any_script_has_as_many_tokens_as_newer_or_older_vocabularies_make_of_it(language: str) -> None:
    text, newer, older = ARTICLE_1[language]
    assert newer * 0.85 < features({"messages": user(text)}).text_tokens - TOKENS_PER_MESSAGE < older * 1.15


def test_images_and_tools_count_outside_the_learned_factor_of_text() -> None:
    content = [{"type": "text", "text": "x" * 400}, {"type": "image_url", "image_url": {"url": "data:..."}}]
    tools = [{"name": "y" * 789}] * 2  # 800 characters as JSON, and 3 of the list around both
    found = features({"messages": user(content), "tools": tools}, "ner", Learned({"ner": 2.0}, tool_factor=0.5))
    assert found.tool_tokens == 200  # 1,603 / 4 × 0.5
    assert found.prompt_tokens == 208 + TOKENS_PER_IMAGE + 200  # (400 / 4 + 4) × 2


def test_the_tools_of_each_application_are_as_long_as_they_are() -> None:
    """One size for all took 1,200 tokens of one application for 4,400, and 9,000 of another likewise."""
    for tokens in (40, 300):
        tools = [
            {"type": "function", "function": {"name": f"f{i}", "description": "d" * (4 * tokens)}} for i in range(30)
        ]
        assert features({"messages": user("x"), "tools": tools}).tool_tokens == pytest.approx(30 * tokens, rel=0.5)


@pytest.mark.parametrize(
    ("longest", "chars"),
    [(23, 20_000), (2, 10_000), (0, 5_000)],  # coding agents: one of 24 tools, 10 or 25 is a third of them all
)
def test_tools_that_are_unlike_count_each(longest: int, chars: int) -> None:
    """By eight of the tools a coding agent's prompt seemed a third shorter than it was, another's a third longer."""
    tools = [{"name": f"f{i}", "description": "d" * (chars if i == longest else 400)} for i in range(24)]
    found = features({"messages": user("x"), "tools": tools}).tool_tokens
    assert found == pytest.approx((chars + 23 * 400) / 4, rel=0.1)


@pytest.mark.parametrize("odd", [object(), {"surrogate": "\ud800"}, {"set": {object()}}])
def test_tools_that_are_no_json_are_of_usual_length(odd: object) -> None:
    assert features({"messages": user("x"), "tools": [odd, odd]}).tool_tokens == 2 * CHARS_PER_TOOL / 4
    endless: list[object] = []
    endless.append(endless)
    assert features({"messages": user("x"), "tools": endless}).tool_tokens == CHARS_PER_TOOL / 4


# --- category and output


def test_the_client_names_the_category_else_the_categorizer_else_nobody() -> None:
    clear, unclear = {"messages": user("Extract all person names from the text.")}, {"messages": user("xyzzy")}
    assert features(clear, "legal")[:2] == ("legal", "client")
    assert features(clear)[:2] == ("ner", "categorizer")
    assert features(unclear)[:2] == ("unsure", "unsure")
    assert extract(unclear, article, None, Learned()).category == "ner"


@pytest.mark.parametrize(
    ("limits", "expected", "reserved"),
    [
        ({}, 120, 120),  # no limit: room for the expected answer
        ({"max_tokens": 50}, 50, 50),
        ({"max_tokens": 4_000}, 120, 4_000),  # 120 are expected, but the window must hold what the client allows
        ({"max_completion_tokens": 30, "max_tokens": 50}, 50, 50),  # which one counts is the server's choice
        ({"max_output_tokens": 40}, 40, 40),
        ({"max_tokens": 10**400}, 120, MAX_OUTPUT_TOKENS),
        ({"max_tokens": 0}, 120, 120),
        ({"max_tokens": -5}, 120, 120),
        ({"max_tokens": True}, 120, 120),
        ({"max_tokens": "50"}, 120, 120),
        ({"max_tokens": 50.5}, 120, 120),
    ],
)
def test_max_tokens_caps_the_expected_answer_and_reserves_its_room(
    limits: dict[str, object], expected: int, reserved: int
) -> None:
    found = features({"messages": user("x"), **limits}, "ner")
    assert (found.output_tokens, found.reserved_tokens) == (expected, reserved)


def test_what_was_learned_replaces_the_priors() -> None:
    learned = Learned({"ner": 1.5})
    request = {"messages": user("x" * 400)}
    found = features(request, "ner", learned)
    assert (found.prompt_tokens, found.output_tokens) == (156, 120)  # 104 × 1.5
    assert features(request, "chat", learned)[2:4] == (104, 300)
    assert features(request, "legal", learned).output_tokens == 300


@pytest.mark.parametrize(
    ("asked", "effort"),
    [
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": {"effort": "high", "summary": "auto"}}, "high"),
        ({"reasoning": {"effort": "minimal"}}, "minimal"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5_000}}, "~4096"),  # a power of two: there are few
        ({"thinking": {"type": "enabled", "budget_tokens": 10**30}}, "~1048576"),
        ({"thinking": {"type": "disabled"}}, ""),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"reasoning_effort": "x" * 10_000, "reasoning": 3, "thinking": [1]}, ""),
        ({"reasoning_effort": ["low"]}, ""),
        ({}, ""),
    ],
)
def test_how_much_a_model_is_asked_to_think_is_read_as_each_route_says_it(
    asked: dict[str, object], effort: str
) -> None:
    assert features({"messages": user("Hi."), **asked}).effort == effort


# --- needs

SCHEMA = {"type": "json_schema", "json_schema": {}}


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"response_format": SCHEMA}, {"json_schema"}),
        ({"text": {"format": SCHEMA}}, {"json_schema"}),  # Responses
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, {"json_schema"}),  # Messages
        ({"output_format": {"type": "json_schema", "schema": {}}}, {"json_schema"}),  # Messages, its beta
        ({"modalities": ["text", "audio"], "audio": {"voice": "a"}}, {"audio_output"}),
        ({"modalities": ["text"]}, set()),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"messages": user([{"type": "image_url", "image_url": {}}])}, {"vision"}),
        ({"messages": user([{"type": "image", "source": {}}])}, {"vision"}),  # Anthropic
        ({"input": user([{"type": "input_image", "image_url": "x"}])}, {"vision"}),
        ({"messages": user([{"type": "tool_result", "content": [{"type": "image"}]}])}, {"vision"}),
        ({"messages": user([{"type": "input_audio", "input_audio": {}}])}, {"audio"}),
        ({"messages": user([{"type": "image"}, {"type": "input_audio"}]), "tools": [{}]}, {"vision", "audio", "tools"}),
    ],
)
def test_needs_are_read_from_every_routes_own_fields(request_: dict[str, object], needs: set[str]) -> None:
    assert features(request_).needs == needs


def test_only_true_is_a_stream() -> None:
    assert [features({"stream": value}).stream for value in (True, False, None, "true", 1)] == [True] + [False] * 4


# --- anything at all

garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "format"]) | st.text(max_size=5), inner)
    ),
    max_leaves=12,
)
fields = st.sampled_from([
    "messages", "input", "prompt", "system", "instructions", "tools", "functions", "text", "stream", "response_format",
    "max_tokens", "max_completion_tokens", "max_output_tokens",
])  # fmt: skip


@given(st.dictionaries(fields, garbage | st.lists(st.dictionaries(st.sampled_from(["role", "content"]), garbage))))
def test_garbage_never_raises_and_never_has_a_negative_size(request_: dict[str, object]) -> None:
    for categorizer in (categorize, article):
        found = extract(request_, categorizer, None, Learned())
        assert min(found.prompt_tokens, found.output_tokens, found.reserved_tokens) >= 0


def test_parts_nested_without_end_are_read_to_a_bounded_depth() -> None:
    nested: object = "x" * 400
    for _ in range(100_000):
        nested = [nested]
    assert features({"messages": user(nested)}).prompt_tokens == 4
    assert measure([[["x" * 400]]]).chars == 400  # messages, parts, parts of a part


@pytest.mark.parametrize("key", ["input", "other"])
def test_objects_nested_without_end_are_read_to_a_bounded_depth(key: str) -> None:
    part: dict[str, object] = {"text": "x"}
    for _ in range(900):
        part = {key: part, "texts": ["y"]}
    assert features({"messages": user([part])}).prompt_tokens < 10


@pytest.mark.parametrize(
    ("part", "need"),
    [
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}, "pdf"),
        ({"type": "input_file", "file_id": "f"}, "pdf"),
        ({"type": "document", "source": {}}, "pdf"),
        ({"type": "video_url", "video_url": {"url": "u"}}, "video"),
        ({"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64," + "A" * 4_000}}, "audio"),
        ({"type": "image_url", "image_url": {"url": PDF_URL}}, "pdf"),
        ({"type": "input_image", "image_url": PDF_URL}, "pdf"),
        ({"type": "file", "file": {"file_data": "data:image/png;base64,AAAA"}}, "vision"),
        ({"type": "file", "file": {"file_data": "data:audio/mp3;base64,AAAA"}}, "audio"),
        ({"type": "file", "file": {"file_id": "gs://b/film", "format": "video/mp4"}}, "video"),
        ({"type": "input_file", "filename": "a.png", "file_data": "data:image/png;base64,AAAA"}, "vision"),
        ({"type": "file", "file": {"file_data": "AAAA", "format": 7}}, "pdf"),
    ],
)
def test_what_is_no_text_is_told_by_its_mime_type_then_by_its_kind(part: dict[str, object], need: str) -> None:
    found = extract({"messages": [{"role": "user", "content": [part]}]}, rules(), None, Learned())
    assert found.needs == {need}
    assert found.prompt_tokens >= (TOKENS_PER_FILE if need == "pdf" else 0)
    assert found.text_tokens < 10


@pytest.mark.parametrize(("count", "answers"), [(4, 4), (1, 1), (0, 1), ("4", 1), (True, 1), (10**9, 128)])
def test_each_answer_that_is_asked_for_is_expected(count: object, answers: int) -> None:
    for name in ("n", "best_of"):  # all of the second are paid for
        request = {"messages": [{"role": "user", "content": "Hi."}], name: count, "max_tokens": 10}
        assert extract(request, rules(), "chat", Learned()).output_tokens == 10 * answers


# --- the most that it can be


@pytest.mark.parametrize(
    ("request_", "most"),
    [
        ({"messages": user("x" * 400)}, 420),  # 400 + 20
        ({"messages": user("漢" * 400)}, 1_620),
        ({"messages": user("ក" * 400)}, 1_620),  # Khmer: no wide character, and two tokens each
        ({"messages": [*user("x" * 400), {"role": "assistant", "tool_calls": [{"function": CALL}]}]}, 841),
        ({"messages": user("x" * 400), "tools": [{"name": "y" * 388}]}, 821),
        ({"messages": user([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}])}, None),
        ({"messages": user([{"type": "input_audio", "input_audio": {}}])}, None),
        ({"messages": user([{"type": "file", "file": {}}])}, None),
    ],
)
def test_no_tokenizer_makes_more_tokens_than_bytes(request_: dict[str, object], most: int | None) -> None:
    assert features(request_).most_tokens == most


@given(st.text(st.characters(min_codepoint=0x80, codec="utf-8"), max_size=200))
def test_litellms_counter_makes_no_more_of_any_text(text: str) -> None:
    request = {"messages": user(text)}
    assert litellm.token_counter(messages=request["messages"]) <= (features(request).most_tokens or 0)
