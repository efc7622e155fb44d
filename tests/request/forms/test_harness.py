"""What frameworks write in a user's name is no instruction: each step of a task has its category. Texts are theirs."""

from __future__ import annotations

import pytest

from slo_router.request.categories import Instruction, instruction_windows, rules

ASKED = {"role": "user", "content": "Summarize in one sentence: the cat sat on the mat."}
OTHER = "Write a Python function. Calculate, step by step, how many names it has. Extract all."
STEPS = {
    "smolagents": f"Observation:\n{OTHER}",
    "smolagents, failed": f"Call id: 1\nError:\n{OTHER}\nNow let's retry: take care not to repeat previous errors! If",
    "smolagents, unparsed": f"Error:\n{OTHER}\nNow let's retry: take care not to repeat previous errors!",
    "ReAct": f"Observation: {OTHER}",
    "mini-swe-agent": f"<returncode>0</returncode>\n<output>\n{OTHER}</output>",
    "mini-swe-agent, no call": f"Tool call error:\n\n<error>\n{OTHER}\n</error>",
    "pydantic-ai": f"Validation feedback:\n{OTHER}\n\nFix the errors and try again.",
    "pydantic-ai, fields": f"1 validation error:\n```json\n[{OTHER}]\n```\n\nFix the errors and try again.",
    "instructor": f"Validation Errors found:\n1 validation error for Person\n{OTHER}",
    "instructor, JSON": f"Correct your JSON ONLY RESPONSE, based on the following errors:\n{OTHER}",
}


@pytest.mark.parametrize("is_listed", [False, True], ids=["text", "parts"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_has_the_category_of_what_was_asked(step: str, is_listed: bool) -> None:
    content = [{"type": "text", "text": step}] if is_listed else step
    steps = [{"role": "assistant", "content": "Hm."}, {"role": "user", "content": content}]
    assert instruction_windows([ASKED, *steps, *steps]) == instruction_windows([ASKED])


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_person_may_begin_with_such_words(step: str) -> None:
    system = {"role": "system", "content": "Be brief."}
    assert instruction_windows([{"role": "user", "content": step}]).opening == step
    assert instruction_windows([system, {"role": "user", "content": step}]).opening == step
    assert instruction_windows(step).opening == step


@pytest.mark.parametrize("later", ["An observation: it rains. Why?", "Error:\nNameError: x", "Format errors: none."])
def test_a_person_may_go_on_with_words_like_these(later: str) -> None:
    answer = {"role": "assistant", "content": "It sat."}
    assert instruction_windows([ASKED, answer, {"role": "user", "content": later}]).opening == later


def dspy(objective: str, given: str, asked: str) -> list[dict[str, str]]:
    fields = f"Your input fields are:\n1. `{given}` (str):\nYour output fields are:\n1. `{asked}` (str):\n"
    layout = f"All interactions will be structured in the following way.\n\n[[ ## {given} ## ]]\n{{{given}}}\n\n"
    end = f"starting with the field `[[ ## {asked} ## ]]`, and then ending with the marker for `[[ ## completed ## ]]`."
    return [
        {"role": "system", "content": f"{fields}{layout}In adhering to this structure, your objective is: {objective}"},
        {
            "role": "user",
            "content": f"[[ ## {given} ## ]]\nAnn met Bob.\n\nRespond with the corresponding output fields, {end}",
        },
    ]


@pytest.mark.parametrize(
    ("objective", "given", "asked", "category"),
    [
        (
            "\n        Given the fields `document`, produce the fields `summary`.",
            "document",
            "summary",
            "summarization",
        ),
        ("\n        Extract the names of all persons from the text.", "text", "names", "ner"),
        ("\n        Given the fields `spec`, produce the fields `python_code`.", "spec", "python_code", "code"),
        ("\n        Given the fields `question`, produce the fields `answer`.", "question", "answer", None),
    ],
)
def test_the_fields_of_dspy_are_no_instruction(objective: str, given: str, asked: str, category: str | None) -> None:
    found = instruction_windows(dspy(objective, given, asked))
    assert found.opening == found.closing == "Ann met Bob."
    assert "output fields" not in found.system
    assert rules()(found) == category


def test_a_template_that_is_cut_or_a_persons_own_is_read_as_it_stands() -> None:
    own = "[[ ## names ## ]]\nAnn met Bob."
    assert instruction_windows(own) == Instruction("", own, own)
    cut = [{"role": "system", "content": "Your input fields are:\n1. `text`"}, {"role": "user", "content": own}]
    assert instruction_windows(cut) == Instruction("Your input fields are:\n1. `text`", own, own)
