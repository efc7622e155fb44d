"""The category comes from the instruction at the edges of a request. It is None rather than a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.routing.categorizer import accuracy, load_prompts, outcomes
from slo_router.contract.model import CATEGORIES
from slo_router.request.categories import (
    EDGE_CHARS,
    EDGE_PARTS,
    OPENING_CHARS,
    RECENT_TURNS,
    Instruction,
    article,
    instruction_windows,
    rules,
)

PROSE = "The harbour was rebuilt after the storm, and the boats came back one after the other. " * 40  # 640 words
categorize = rules()


def user(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


# --- what the article gets wrong


@pytest.mark.parametrize(
    "prompt", [f"Extract all names and places.\n\n{PROSE}", f"{PROSE}\n\nExtract all names and places."]
)
def test_article_takes_a_long_extraction_for_reasoning_and_rules_do_not(prompt: str) -> None:
    """More than 100 words score above 100, whatever they ask for."""
    windows = instruction_windows(user(prompt))
    assert article(windows) == "reasoning"
    assert categorize(windows) == "ner"


def test_article_takes_a_short_puzzle_for_extraction_and_rules_do_not() -> None:
    """It has 15 words and no reasoning word or sign, so it scores 15."""
    windows = instruction_windows(
        user("If 5 machines make 5 widgets in 5 minutes, how many minutes do 100 machines need?")
    )
    assert article(windows) == "ner"
    assert categorize(windows) == "reasoning"


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("word " * 50, "ner"),  # 50
        ("word " * 51, "summarization"),  # 51
        ("word " * 41 + "why", "summarization"),  # 42 + 10 = 52
        ("word " * 45 + "x=1", "summarization"),  # 46 + 5 = 51
        ("word " * 100, "summarization"),  # 100
        ("word " * 101, "reasoning"),  # 101
        ("word " * 85 + "why x=1", "reasoning"),  # 87 + 10 + 5 = 102
    ],
)
def test_article_adds_words_reasoning_word_and_math_sign(prompt: str, category: str) -> None:
    assert article(instruction_windows(prompt)) == category


# --- rules


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("Please extract all invoice numbers: A-17, A-19.", "ner"),
        ("Extrahiere alle Namen: Katrin traf Uwe in Bremen.", "ner"),
        (f"TL;DR?\n\n{PROSE}", "summarization"),
        (f"{PROSE}\n\nSummarize this in two sentences.", "summarization"),
        ("Prove that the square root of 2 is irrational.", "reasoning"),
        ("Write a Python function that sorts a list.", "code"),
        (f"Why does this fail?\n\n```\n{PROSE}\n```", "code"),
        ("Hello! Can you recommend a film for tonight?", "chat"),
    ],
)
def test_rules_follow_the_instruction(prompt: str, category: str) -> None:
    assert categorize(instruction_windows(user(prompt))) == category


def test_rules_follow_the_system_prompt_when_the_message_is_only_a_document() -> None:
    system = {"role": "system", "content": "Extract all person names from what the user sends. JSON only."}
    assert categorize(instruction_windows([system, *user(PROSE)])) == "ner"


def test_rules_follow_the_leading_verb_where_the_text_is_about_another_task() -> None:
    prompt = "Extract every name. Text: Ann likes to summarize reports. Bob said that the Python code of Cy was fine."
    assert categorize(instruction_windows(user(prompt))) == "ner"


@pytest.mark.parametrize("prompt", ["", "   ", "ok", PROSE, "Continue.", "Summarize and prove it."])
def test_rules_are_unsure_without_an_instruction_or_with_two(prompt: str) -> None:
    """Neither a text without a task nor two tasks of equal weight (summarize 4, prove 4) has a category."""
    assert categorize(instruction_windows(user(prompt))) is None


# --- categories of the configuration


def test_extra_categories_are_found_by_word_and_by_phrase_in_any_case() -> None:
    with_legal = rules({"legal": ["GDPR", "Terms of Service"]})
    assert with_legal(instruction_windows(user("Is this allowed by the (GDPR)?"))) == "legal"
    assert with_legal(instruction_windows(user("Check our terms of service."))) == "legal"
    assert categorize(instruction_windows(user("Check our terms of service."))) is None


def test_extra_keywords_extend_a_known_category() -> None:
    prompt = instruction_windows(user("Wyodrębnij nazwiska: Anna i Piotr."))
    assert categorize(prompt) is None
    assert rules({"ner": ["wyodrębnij"]})(prompt) == "ner"


@pytest.mark.parametrize("extra", [{"legal": [" "]}, {" ": ["gdpr"]}])
def test_a_blank_extra_is_refused_by_name(extra: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="expected words, got a blank"):
        rules(extra)


# --- windows


def test_windows_are_bounded_and_what_lies_between_them_changes_nothing() -> None:
    """Two megabytes with an instruction in the middle are read like the same text without it."""
    half = "x" * 1_000_000
    poisoned = instruction_windows(user(f"List all names.\n\n{PROSE}{half} Summarize this Python code. {half}{PROSE}"))
    assert poisoned == instruction_windows(user(f"List all names.\n\n{PROSE}{half}{half}{PROSE}"))
    assert (len(poisoned.opening), len(poisoned.closing)) == (OPENING_CHARS, EDGE_CHARS)
    assert categorize(poisoned) == "ner"


def test_blank_space_around_a_long_message_does_not_hide_its_instruction() -> None:
    """Windows are cut first, so that stripping does not copy the whole message."""
    blank = " " * (OPENING_CHARS + 1)
    assert instruction_windows(f"{blank}{PROSE}{PROSE}Prove it.").closing.endswith("Prove it.")
    assert categorize(instruction_windows(f"{blank}{PROSE}\n\nExtract all names.")) == "ner"


def test_the_last_user_message_counts_and_tool_results_after_it_do_not() -> None:
    turns = [*user("Tell me a joke."), *user("Prove it."), {"role": "tool", "content": "Summarize"}]
    assert instruction_windows(turns) == Instruction("", "Prove it.", "Prove it.")


def test_a_user_message_without_text_gives_way_to_the_one_before_it() -> None:
    """Anthropic sends tool results as user messages."""
    turns = [*user("Prove it."), *user([{"type": "tool_result", "content": "42"}])]
    assert instruction_windows(turns).opening == "Prove it."


def test_a_user_message_beyond_the_recent_turns_is_not_looked_for() -> None:
    tools = [{"role": "tool", "content": "42"}] * RECENT_TURNS
    assert instruction_windows([*user("Prove it."), *tools[1:]]).opening == "Prove it."
    assert instruction_windows([*user("Prove it."), *tools]).opening == ""


REMINDER = (
    "<system-reminder>\nThe todo tool was not used for a while. How many steps are left? Write code only where you "
    "must, explain why, and calculate the rest.\n</system-reminder>\n"
)


DETAILS = "<environment_details>\n# Current Time\n9:00\n# Visible Files\nextract_names.py\n</environment_details>"
NO_TOOL = "[ERROR] You did not use a tool in your previous response! Please retry with a tool use.\n\n# Reminder"
RESUMED = "[TASK RESUMPTION] This task was interrupted. New instructions:\n<user_message>\nSum it up.\n</user_message>"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            ["[read_file for 'src/extract.py'] Result:", "Extract all names and dates. Calculate the rest.", DETAILS],
            None,
        ),
        ([f"[execute_command for 'ls\n-l'] Result:\nList all entities, as JSON.\n{DETAILS}"], None),
        (["[list_files] Result:", "<task>Extract all names.</task>"], None),
        ([NO_TOOL, DETAILS], None),
        ([DETAILS], None),
        (["[attempt_completion] Result:", "<user_message>\nSum it up.\n</user_message>", DETAILS], "Sum it up."),
        (["[write_to_file for 'a'] Result:\nDenied.\n<feedback>\nSum it up.\n</feedback>"], "Sum it up."),
        (["[ask_followup_question for 'Why?'] Result:", "<answer>\nSum it up.\n</answer>", DETAILS], "Sum it up."),
        ([RESUMED, DETAILS], "Sum it up."),
    ],
)
@pytest.mark.parametrize("is_joined", [False, True], ids=["parts", "one text"])
def test_an_agent_whose_tools_answer_in_its_users_words_is_told_by_the_person(
    step: list[str], said: str | None, is_joined: bool
) -> None:
    """Cline and Roo Code send requests like this. Some of their providers join the parts."""

    def message(*texts: str) -> list[dict[str, object]]:
        return user("\n".join(texts) if is_joined else [{"type": "text", "text": text} for text in texts])

    if is_joined and step[0] == DETAILS:
        return
    asked = message("<task>\nWrite a function that sorts.\n</task>", DETAILS)
    found = instruction_windows([*asked, {"role": "assistant", "content": "<read_file>"}, *message(*step)])
    assert found == instruction_windows(user(said or "Write a function that sorts."))


def test_tags_of_a_persons_own_are_left_alone() -> None:
    for text in (
        "Is this <feedback>good</feedback> or bad?",
        "[ERROR] it broke. Explain why.",
        "[x] Result: y",
        "<task>",
    ):
        assert instruction_windows(user(text)) == Instruction("", text, text)


def test_what_an_agent_adds_to_its_users_words_is_no_instruction() -> None:
    """Every request of one task has the same category, however many steps the task takes."""
    asked = user(
        [{"type": "text", "text": REMINDER}, {"type": "text", "text": "Summarize the meeting in one sentence."}]
    )
    steps = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "read", "input": {}}]},
        *user([{"type": "tool_result", "tool_use_id": "1", "content": "x"}, {"type": "text", "text": REMINDER}]),
    ]
    plain = instruction_windows(user("Summarize the meeting in one sentence."))
    assert instruction_windows(asked) == instruction_windows([*asked, *steps * 100]) == plain
    assert categorize(plain) == "summarization"


@pytest.mark.parametrize("kind", ["text", "input_text"])
def test_text_parts_of_chat_anthropic_and_responses_are_joined(kind: str) -> None:
    parts = [{"type": kind, "text": "One."}, {"type": "image_url", "image_url": {}}, {"type": kind, "text": "Two."}]
    assert instruction_windows(user(parts)).opening == "One.\n\nTwo."


def test_of_many_parts_only_those_at_the_ends_are_read() -> None:
    parts = [{"type": "text", "text": str(i)} for i in range(1_000)]
    assert len(instruction_windows(user(parts)).opening.split()) == 2 * EDGE_PARTS


@pytest.mark.parametrize("said", ["yes", "Rename it everywhere"])
def test_orders_of_a_system_prompt_name_no_task(said: str) -> None:
    """Whatever opencode's users said in a word or two was a hard problem, at the best model's price."""
    order, agent = "You must answer in German.", "You are a tool for software engineering tasks."
    for system, category in ((f"You are an assistant. {order}", None), (f"{agent} {order}", "code")):
        assert categorize(instruction_windows([{"role": "system", "content": system}, *user(said)])) == category


def test_a_developer_message_is_a_system_prompt() -> None:
    windows = instruction_windows([{"role": "developer", "content": "s" * 500}, *user("u")])
    assert windows == Instruction("s" * EDGE_CHARS, "u", "u")


@pytest.mark.parametrize("prompt", ["Prove it.", ["Tell me a joke.", "Prove it."], user(["Prove it."])])
def test_a_prompt_is_a_string_or_the_last_of_a_list(prompt: object) -> None:
    assert instruction_windows(prompt).opening == "Prove it."


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "type"]) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]) | JSON_LIKE, "content": JSON_LIKE | st.text(min_size=600)}
)


@given(JSON_LIKE | st.lists(MESSAGE | JSON_LIKE, max_size=4))
def test_any_value_has_windows_and_a_category_or_none(value: object) -> None:
    windows = instruction_windows(value)
    assert len(windows.system) <= EDGE_CHARS
    assert len(windows.opening) <= OPENING_CHARS
    assert len(windows.closing) <= EDGE_CHARS
    assert categorize(windows) in (*CATEGORIES, None)
    assert article(windows) in CATEGORIES


# --- the labelled list


def test_the_list_has_twenty_prompts_of_each_category_and_split() -> None:
    prompts = load_prompts()
    assert len({prompt.id for prompt in prompts}) == 200
    for category in CATEGORIES:
        for split in ("train", "test"):
            assert sum(p.category == category and p.split == split for p in prompts) == 20


def test_rules_beat_the_article_on_the_test_half() -> None:
    """Measured: rules 85 right, 8 unsure, 7 wrong; article 13 right, and 13 of 60 on its own three categories."""
    prompts = [prompt for prompt in load_prompts() if prompt.split == "test"]
    by_rules, by_article = outcomes(categorize, prompts), outcomes(article, prompts)
    own = ("ner", "summarization", "reasoning")
    assert accuracy(by_rules) >= 0.80
    assert accuracy(by_rules, own) >= accuracy(by_article, own) + 0.4
