"""What coding agents and chat clients ask for by themselves. Pure.

A title for the session, a summary that takes the place of a long history, what its user may say next: such a question
quotes the person's task, and is another.
"""

from __future__ import annotations

import re

SUMMARY = "Summarize the conversation."
NO_TASK = ""
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
_PARTS = ("ummar", "itle", "istill")  # one of these, and one of those, is in all that is found
_SUBJECTS = (
    *("conversation", "session", "chat", "thread"),
    *("tion agent", "tion assistant", "title generator", "for another", "continuation summary", "task title"),
)
_SUGGESTION, _ROUTER = "[SUGGESTION MODE", "Task Routing"


def own_question(system: str, message: str) -> str | None:
    """What an agent asks for by itself, in words that tell its kind; `None` where a person asks.

    Both texts are beginnings, of the system prompt and of the last message.
    """
    if _finds(_SUMMARIZER, system) or _finds(_SUMMARIZE, message):
        return SUMMARY
    return NO_TASK if message.startswith(_SUGGESTION) or _ROUTER in system else None


def _finds(pattern: re.Pattern[str], text: str) -> bool:
    """A search for words of it takes a hundredth of the time, and rules out nearly all texts."""
    if not any(part in text for part in _PARTS):
        return False
    lowered = text.lower()
    return any(word in lowered for word in _SUBJECTS) and pattern.search(text) is not None
