"""What a person says in a message into which an agent or a framework writes, too. Pure.

    added      reminders, the state of a folder, before or after a person's words
    steps      a tool's result, or what is wrong with an answer's form, as the user's next message
    templates  around the task: tags of Cline, the fields of DSPy

Which of these a text is, its first words tell.
"""

from __future__ import annotations

import re

_ADDED = (  # parts of a message that begin so
    *("<system-reminder>", "<environment_context>", "<environment_details>", "<session_context>", "<turn_aborted>"),
    "[Request interrupted by user",
)
TASK_CHARS = 20_000  # of a task and of a template at most
_STEP = re.compile(  # of Cline or Roo Code
    r"\s*\[(?:ERROR\] You did not use a tool|TASK RESUMPTION\]|[a-z]+_[a-z_]{1,40}(?: for .{0,1000}?)?\] Result:)",
    re.DOTALL,
)
_PERSONS = re.compile(r"<(feedback|user_message|answer)>\s*(.*?)\s*(?:</\1>|\Z)", re.DOTALL)
_LATER_STEP = re.compile(  # a person may begin a conversation so
    r"\s*(?:O(?:bservation|BSERVATION):"  # ReAct agents, smolagents
    r"|(?:Call id: .{1,200}?\n)?Error:\n.{0,4000}?Now let's retry|Now proceed and carry out this plan"  # smolagents
    r"|<returncode>|<exception>|(?:Tool call|Format) error:\n"  # mini-swe-agent
    r"|Your previous response reached the output token limit"
    r"|Validation feedback:\n|\d+ validation errors?:\n"  # pydantic-ai
    r"|Validation Errors? (?:found|due)|Correct (?:your JSON ONLY RESPONSE|the following JSON response), based on)",
    re.DOTALL,  # the last line: instructor
)
_DSPY = ("Your input fields are:", "Your output fields are:")
_OBJECTIVE = "your objective is:"
_FIELDS = re.compile(r"the fields ((?:`\w+`(?:, )?)+)")
_MARKER = re.compile(r"\[\[ ## \w+ ## \]\]\n?")
_ASKED_FOR = (
    "\n\nRespond with the corresponding output fields",
    "\n\nRespond with a JSON object in the following order",
)


def is_added(text: str) -> bool:
    """Whether an agent wrote a part of a message by itself."""
    return text.lstrip().startswith(_ADDED)


def is_step(text: str, *, is_later: bool) -> bool:
    """Whether an agent wrote it about a step; `is_later`: messages of the conversation come before it."""
    return _STEP.match(text) is not None or (is_later and _LATER_STEP.match(text) is not None)


def persons(text: str) -> list[str]:
    """What a person says in a step."""
    return [one[1] for one in _PERSONS.findall(text)]


def task_of(text: str) -> str:
    """What a person asked for, without the template around it."""
    if text.startswith("[[ ## "):
        end = max(text.rfind(said, -TASK_CHARS) for said in _ASKED_FOR)
        return _MARKER.sub("", text[: min(end, TASK_CHARS)]).strip() if end > 0 else text
    end = text.find("</task>", 0, TASK_CHARS) if text.startswith("<task>") else -1
    return text[len("<task>") : end] if end > 0 else text


def instructions_of(text: str) -> str:
    """What a system prompt says of the task: of DSPy's, what stands behind its account of the fields."""
    if not text.startswith(_DSPY):
        return text
    begin = text.find(_OBJECTIVE, 0, TASK_CHARS)
    if begin < 0:
        return text
    begin += len(_OBJECTIVE)
    return _FIELDS.sub(_as_words, text[begin : begin + TASK_CHARS]).strip()


def _as_words(found: re.Match[str]) -> str:
    return found[1].replace("`", "").replace("_", " ")
