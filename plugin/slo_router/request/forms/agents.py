"""What coding agents and chat clients add to their users' words, and what they ask for by themselves. Pure.

An agent adds reminders and its surroundings to what a person says, and reports its tools' results as if that person had
said them. It also has questions of its own: a title for the session, a summary that takes the place of a long history,
what its user may say next. Such a question quotes the person's task, and is another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TASK_CHARS = 20_000  # of an agent's task at most
SUMMARY = "Summarize the conversation."
NO_TASK = ""
_ADDED = (  # parts of a message that begin so
    *("<system-reminder>", "<environment_context>", "<environment_details>", "<session_context>", "<turn_aborted>"),
    "[Request interrupted by user",
)
_STEP = re.compile(  # of Cline or Roo Code
    r"\s*\[(?:ERROR\] You did not use a tool|TASK RESUMPTION\]|[a-z]+_[a-z_]{1,40}(?: for .{0,1000}?)?\] Result:)",
    re.DOTALL,
)
_PERSONS = re.compile(r"<(feedback|user_message|answer)>\s*(.*?)\s*(?:</\1>|\Z)", re.DOTALL)
_TALK = r"\b(?:conversation|session|chat|thread)\b"
_SUMMARIZER = re.compile(  # a system prompt
    rf"\bsummari[sz](?:es|ing)\b[^.\n]{{0,40}}{_TALK}|\bsummari[sz]ation (?:agent|assistant)\b"
    rf"|\bdistilling chat history\b|\btitle generator\b|\bgenerate\b[^.\n]{{0,60}}\btitle\b[^.\n]{{0,120}}{_TALK}",
    re.IGNORECASE,
)
_SUMMARIZE = re.compile(  # a message
    r"(?:^|[.:\n] ?|\btask is to |\bplease )(?:"
    r"(?:create|provide|write) an? (?:[\w-]+ ){0,2}summary (?:for another\b|(?:from|of)\b"
    rf"[^.\n]{{0,40}}{_TALK})|summari[sz]e this portion\b[^.\n]{{0,40}}{_TALK}|write a continuation summary\b"
    rf"|(?:generate|reply with) a (?:[\w,-]+ ){{0,3}}title\b[^.\n]{{0,60}}{_TALK}"
    r"|generate a (?:[\w,-]+ ){0,3}task title\b)",
    re.IGNORECASE,
)
_SUGGESTION, _ROUTER = "[SUGGESTION MODE", "Task Routing"


def is_added(text: str) -> bool:
    """Whether an agent wrote a part of a message by itself."""
    return text.lstrip().startswith(_ADDED)


def is_step(texts: Sequence[str]) -> bool:
    """Whether a message reports what a tool answered."""
    return any(map(_STEP.match, texts))


def said_in(text: str) -> str | None:
    """The last that a person says in such a message."""
    said = _PERSONS.findall(text)
    return said[-1][1] if said else None


def task_of(text: str) -> str:
    """What a person asked an agent for, without what that adds."""
    end = text.find("</task>", 0, TASK_CHARS) if text.startswith("<task>") else -1
    return text[len("<task>") : end] if end > 0 else text


def own_question(system: str, message: str) -> str | None:
    """What an agent asks for by itself, in words that tell its kind; `None` where a person asks.

    Both texts are beginnings, of the system prompt and of the last message.
    """
    if _finds(_SUMMARIZER, system) or _finds(_SUMMARIZE, message):
        return SUMMARY
    return NO_TASK if message.startswith(_SUGGESTION) or _ROUTER in system else None


def _finds(pattern: re.Pattern[str], text: str) -> bool:
    """A search for words of it takes a hundredth of the time, and rules out nearly all texts."""
    return ("ummar" in text or "itle" in text or "istill" in text) and pattern.search(text) is not None
