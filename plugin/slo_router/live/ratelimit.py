"""What providers say of their rate limits, in the headers of an answer and in a refusal (HTTP 429). Pure.

    OpenAI, Azure, Groq …   x-ratelimit-{limit,remaining,reset}-{requests,tokens}; the reset is a duration: 6m0s, 12
    Anthropic               anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}; the reset is a date
    a refusal               retry-after-ms, retry-after (seconds or an HTTP date), the reset of a limit that is used up,
                            or its body: {"retry_after": 7}, {"retryDelay": "34s"}, "Please try again in 6.2s"
    OpenRouter, Together    x-ratelimit-{remaining,reset} in a refusal; OpenRouter's reset is Unix milliseconds, and in
                            its body

LiteLLM puts `llm_provider-` before the provider's header names. Headers without it tell of LiteLLM's own limits.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

REQUESTS, TOKENS = "requests", "tokens"
PREFIX = "llm_provider-"
_MILLISECONDS = 1e11  # a Unix time that is larger is in milliseconds
MOST_TEXT = 4_000  # characters of a refusal that are looked at

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|sec|s|minutes?|min|m|hours?|h|days?|d)?")
_SAID = re.compile(
    r"(?:retry[_-]?after(?P<ms>[_-]?ms)?|retry[_-]?delay|x-ratelimit-reset|(?:try again|retry) (?:in|after)|\bwait)"
    r"""["']?\s*[:=]?\s*["']?(?P<time>\d+(?:\.\d+)?\s*[a-z]*(?:\d+(?:\.\d+)?[a-z]+)*)""",
    re.IGNORECASE,
)


class Report(NamedTuple):
    """What is left of one limit. Times are Unix seconds."""

    kind: str  # REQUESTS or TOKENS
    left: float
    limit: float | None
    whole_at_s: float | None  # when all of it is there again


def reports(headers: Mapping[str, object], now_s: float, prefix: str = PREFIX) -> list[Report]:
    """What an answer's headers say, if they say anything."""
    found: list[Report] = []
    said = {name[len(prefix) :]: str(value) for name, value in headers.items() if name.startswith(prefix)}
    for kind in (REQUESTS, TOKENS):
        for form in (f"x-ratelimit-{{}}-{kind}", f"anthropic-ratelimit-{kind}-{{}}"):
            left = _number(said.get(form.format("remaining")))
            if left is not None:
                limit, reset = _number(said.get(form.format("limit"))), said.get(form.format("reset"))
                found.append(Report(kind, left, limit, None if reset is None else moment_s(reset, now_s)))
                break
    return found


def wait_s(headers: Mapping[str, object], text: str, now_s: float) -> float | None:
    """How long a refusal says to wait, above 0; `None` where it does not say."""
    said = {name.lower(): str(value) for name, value in headers.items()}
    milliseconds = _number(said.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1_000
    after = said.get("retry-after")
    at_s = None if after is None else moment_s(after, now_s, said.get("date"))
    if at_s is None:
        over = [one.whole_at_s for one in reports(said, now_s, "") if one.left < 1 and one.whole_at_s is not None]
        at_s = max(over, default=None)
    if at_s is None and _number(said.get("x-ratelimit-remaining")) == 0:
        at_s = moment_s(said.get("x-ratelimit-reset", ""), now_s)
    if at_s is None and (match := _SAID.search(text[:MOST_TEXT])):
        at_s = moment_s(match["time"] + ("ms" if match["ms"] else ""), now_s)
    return at_s - now_s if at_s is not None and at_s > now_s else None


def moment_s(text: str, now_s: float, server_date: str | None = None) -> float | None:
    """Unix seconds of a duration from now, a date or a Unix time. `server_date` corrects a date for its clock."""
    duration_s = _duration_s(text)
    if duration_s is not None:
        duration_s /= 1_000 if duration_s > _MILLISECONDS else 1
        return duration_s if duration_s > now_s / 2 else now_s + duration_s
    date_s = _date_s(text)
    if date_s is None or server_date is None:
        return date_s
    server_s = _date_s(server_date)
    return date_s if server_s is None else now_s + date_s - server_s


def _duration_s(text: str) -> float | None:
    rest, total_s = text.strip().lower(), 0.0
    while rest:
        match = _PART.match(rest)
        if match is None:
            return None
        unit = match[2] or "s"
        total_s += float(match[1]) * _UNITS_S["ms" if unit.startswith(("ms", "milli")) else unit[0]]
        rest = rest[match.end() :].strip()
    return total_s if text.strip() else None


def _date_s(text: str) -> float | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            found = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None
