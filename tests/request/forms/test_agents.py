"""What an agent asks for by itself is told by what it asks, not by the task of its user that it quotes."""

import pytest

from slo_router.request.categories import Instruction, instruction_windows, rules

TASK = "Fix the bug in the parse function and refactor the module."
SUMMARY, NO_TASK = instruction_windows("Summarize the conversation."), Instruction("", "", "")
AGENT = "You are a coding agent. You help users with software engineering. "


def windows(system: str, user: object) -> Instruction:
    return instruction_windows([{"role": "system", "content": system}, {"role": "user", "content": user}])


@pytest.mark.parametrize(
    ("system", "user"),
    [
        (f"{AGENT}\nGenerate a short title (3 words) that tells the goal of this coding session.", TASK),  # Claude Code
        (f"{AGENT}\nGenerate a title for what this session is about.", f"<session>{TASK}</session>"),  # Qwen Code
        ("You are a title generator. Nothing else.", TASK),  # opencode
        (AGENT, f"Generate a concise, single-line task title of 36 characters. User prompt:\n{TASK}"),  # Codex
        ("", f"Given this... please reply with a title for the chat in 3 words: {TASK}"),  # Continue
        ("", f"### Task:\nGenerate a concise, 3-5 word title with an emoji for the chat.\n{TASK}"),  # Open WebUI
        (AGENT, f"Respond with text only. Your task is to create a detailed summary of this conversation. {TASK}"),
        (AGENT, f"You make a checkpoint. Create a handoff summary for another LLM that goes on. {TASK}"),
        ("You are the component that summarizes a conversation before it overflows.", TASK),
        ("You are a context summarization agent.", TASK),
        ("You are responsible for distilling chat history into a snapshot.", TASK),
    ],
)
def test_a_title_or_a_summary_is_a_summary_whatever_the_task(system: str, user: str) -> None:
    assert windows(system, user) == SUMMARY
    assert rules()(SUMMARY) == "summarization"


@pytest.mark.parametrize(
    ("system", "user"),
    [
        ("You are a Task Routing AI. You say how hard a request is.", TASK),  # Gemini CLI
        (AGENT, f"[SUGGESTION MODE: what may the user type next?] {TASK}"),  # Claude Code, Qwen Code
    ],
)
def test_a_question_about_the_task_is_not_the_task(system: str, user: str) -> None:
    assert windows(system, user) == NO_TASK
    assert rules()(NO_TASK) is None


@pytest.mark.parametrize(
    "asked",
    [
        TASK,
        "Add an endpoint that returns a summary of a chat session, and the title of the conversation.",
        "Create a component with title and chat window in React.",
        "Write a function that summarizes a conversation.",
        "Generate a title component for the blog in TypeScript.",
        "Why does the session title not show?",
    ],
)
def test_what_a_person_asks_about_titles_and_summaries_is_left_alone(asked: str) -> None:
    assert windows(AGENT, asked) == Instruction(AGENT, asked, asked)


def test_where_a_person_s_words_begin() -> None:
    """Gemini CLI says where it is in the message of the person, and others that they were stopped."""
    around = "<session_context>\nExtract all names. How many files are there?\n</session_context>"
    for added in (around, "<turn_aborted>\nWhy?\n</turn_aborted>", "[Request interrupted by user]\n"):
        assert windows(AGENT, [{"type": "text", "text": added}, {"type": "text", "text": TASK}]) == windows(AGENT, TASK)
