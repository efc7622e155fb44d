"""Which deployment holds a conversation's beginning in its prefix cache, as far as this proxy sent it there. Pure.

A conversation is known by fingerprints of its messages from the first one on: the next turn's messages begin with those
of the turn before, so its longest known beginning tells what was sent and where. Fingerprints are of the roles, lengths
and edges of the texts, so that a long prompt costs no more than a short one; no text is kept. What a worker learns it
tells the others, at most `NEWS` turns at a time, however many there were.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from slo_router.contract.ages import CACHE_LASTS_S

MOST = 10_000  # turns remembered, the latest
NEWS = 256
BEGINNINGS = 8  # of a conversation that are looked up, the longest: a turn adds two or three messages
EDGE_CHARS = 128
MAX_TOKENS = 10_000_000


class Cached(NamedTuple):
    """A beginning of the prompt that a deployment has seen."""

    deployment_id: str
    tokens: int  # of the prompt, estimated
    at_s: float = 0.0  # Unix seconds of the turn, or when another worker told of it

    def counts(self, now_s: float) -> bool:
        """Whether it may be in the prefix cache still: servers drop what nobody asks for."""
        return abs(now_s - self.at_s) < CACHE_LASTS_S


NOTHING_CACHED = Cached("", 0)


class Conversations:
    """What one worker knows, by fingerprint."""

    def __init__(self) -> None:
        self._turns: OrderedDict[int, Cached] = OrderedDict()
        self._news: OrderedDict[int, Cached] = OrderedDict()

    def find(self, beginnings: Sequence[int]) -> Cached:
        """The longest beginning that is known; `beginnings` as `fingerprints` gives them."""
        for beginning in beginnings:
            if (cached := self._turns.get(beginning)) is not None:
                return cached
        return NOTHING_CACHED

    def remember(self, beginnings: Sequence[int], cached: Cached) -> None:
        """The whole prompt was answered there."""
        if beginnings:
            self._keep(beginnings[0], cached)
            self._tell(beginnings[0], cached)

    def release(self, beginnings: Iterable[int]) -> None:
        """An answer broke its SLO: the conversation is free to go elsewhere."""
        for beginning in beginnings:
            if (cached := self._turns.pop(beginning, None)) is not None:
                self._tell(beginning, cached._replace(tokens=0))

    def export(self) -> list[tuple[int, str, int]]:
        """What is new since the last call, the latest `NEWS` of it, as JSON values."""
        news = [(beginning, cached.deployment_id, cached.tokens) for beginning, cached in self._news.items()]
        self._news.clear()
        return news

    def absorb(self, said: object, now_s: float) -> None:
        """Takes in what another worker exported, as if of now; what makes no sense is left out."""
        for entry in said[:NEWS] if isinstance(said, list) else ():
            match entry:
                case [int(beginning), str(name), int(tokens)] if 0 <= tokens <= MAX_TOKENS:
                    self._keep(beginning, Cached(name, tokens, now_s))

    def _tell(self, beginning: int, cached: Cached) -> None:
        self._news[beginning] = cached
        self._news.move_to_end(beginning)
        if len(self._news) > NEWS:  # nobody exports where there is no Redis
            self._news.popitem(last=False)

    def _keep(self, beginning: int, cached: Cached) -> None:
        if not cached.tokens:
            self._turns.pop(beginning, None)
            return
        self._turns[beginning] = cached
        self._turns.move_to_end(beginning)
        if len(self._turns) > MOST:
            self._turns.popitem(last=False)


def fingerprints(messages: object) -> list[int]:
    """Of the conversation's beginnings, the whole first. Empty where it is no list of messages."""
    found: list[int] = []
    value = 0
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            return []
        text = _text_of(message.get("content"))
        mark = f"{message.get('role')}|{len(text)}|{text[:EDGE_CHARS]}|{text[-EDGE_CHARS:]}"
        value = zlib.crc32(mark.encode("utf-8", "replace"), value)
        found.append(value)
    return found[::-1][:BEGINNINGS]


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text") or part.get("type")) for part in parts if isinstance(part, dict))
