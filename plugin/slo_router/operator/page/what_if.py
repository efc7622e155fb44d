"""The what-if form: decides now for a prompt (or only its size) and an SLO. It sends nothing to any model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from slo_router.contract.settings.config import Settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.observer import decide_now
from slo_router.operator.replay.explanation import Explanation, explain_live
from slo_router.request.features import TOKENS_PER_CHAR, TOKENS_PER_MESSAGE
from slo_router.request.slo import FIELDS

MOST_TOKENS = 2_000_000


class Input(NamedTuple):
    """One field of the form: its name, label and hint."""

    name: str
    label: str
    hint: str


SLO_INPUTS = (
    Input("ttft_ms", "Time to first token, ms", "group’s"),
    Input("tpot_ms", "Time per output token, ms", "group’s"),
    Input("e2e_ms", "Time to the end, ms", "group’s"),
    Input("cost_per_1k", "USD per 1,000 tokens", "group’s"),
    Input("min_quality", "Least quality, 0 to 1", "group’s"),
)


def groups(settings: Settings) -> list[str]:
    """The managed groups, which the form offers."""
    return list(settings.plugin.groups)


def categories(settings: Settings) -> list[str]:
    """Every category of any group, each once."""
    return list(dict.fromkeys(name for group in settings.plugin.groups.values() for name in group.known_categories))


def decide(settings: Settings, form: Mapping[str, str]) -> Explanation:
    """The decision for the form's fields. Raises SettingsError with the wrong field."""
    given = {name: value.strip() for name, value in form.items() if value.strip()}
    prompt = given.get("prompt")
    tokens, most = _count(given, "prompt_tokens"), _count(given, "max_tokens")
    if (prompt is None) == (tokens is None):
        raise SettingsError("expected either a prompt or its size in tokens")
    request = {"messages": [{"role": "user", "content": prompt or _of_size(tokens or 0)}], "max_tokens": most}
    slo = [f"{field.name}={given[field.name]}" for field in FIELDS if field.name in given]
    return explain_live(asyncio.run(decide_now(settings, given.get("group"), request, slo, given.get("category"))))


def _of_size(tokens: int) -> str:
    """A text that the router estimates at `tokens` tokens."""
    return "x" * max(round((tokens - TOKENS_PER_MESSAGE) / TOKENS_PER_CHAR), 0)


def _count(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_TOKENS):
        raise SettingsError(f"{name}: {text[:40]!r}, expected a whole number from 1 to {MOST_TOKENS:,}")
    return int(text)
