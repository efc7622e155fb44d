"""Which deployment holds a conversation's beginning in its prefix cache, as far as this proxy sent it there. Pure.

A conversation is known by fingerprints of its beginnings: the next turn's messages begin with those of the turn before,
so its longest known beginning tells what was sent and where. Fingerprints are of the roles, lengths and edges of a few
messages, so that a long prompt costs no more than a short one; no text is kept. Where no beginning is
known (a history that the client cut, or that the server holds) the session tells where its last turn was answered, by a
keyed hash of its name. What a worker learns it tells the others, at most `NEWS` turns at a time, however many there
were.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slo_router.contract.ages import CACHE_LASTS_S

MOST = 10_000  # turns and sessions remembered, the latest
NEWS = 512
BEGINNINGS = 8  # of a conversation that are looked up, the longest: a turn adds two or three messages
EDGE_CHARS = 128
MAX_TOKENS = 10_000_000
NO_SESSION = 0


class Cached(NamedTuple):
    """A beginning of the prompt that a deployment has seen."""

    deployment_id: str
    tokens: int  # of the prompt, estimated; of a session what it last read from the cache
    at_s: float = 0.0  # Unix seconds of the turn, or when another worker told of it

    def counts(self, now_s: float) -> bool:
        """Whether it may be in the prefix cache still: servers drop what nobody asks for."""
        return abs(now_s - self.at_s) < CACHE_LASTS_S


NOTHING_CACHED = Cached("", 0)


class Conversations:
    """What one worker knows, by fingerprint, and by the hash of a session."""

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
            if self._turns.pop(beginning, None) is not None:
                self._tell(beginning, NOTHING_CACHED)

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
        if not cached.deployment_id:
            self._turns.pop(beginning, None)
            return
        self._turns[beginning] = cached
        self._turns.move_to_end(beginning)
        if len(self._turns) > MOST:
            self._turns.popitem(last=False)


def fingerprints(messages: object, instructions: object = None) -> list[int]:
    """Of the conversation's beginnings, the whole first. Empty where it is no list of messages, and no text.

    Each is told by its first and its last two messages and by how many there are, so that a long history costs no more
    than a short one. Of `instructions`, which stand beside the messages, the end alone counts: clients begin them with
    a header of each request's own, which providers take out.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list) or not messages:
        return []
    oldest = max(len(messages) - BEGINNINGS, 0)
    looked_at = messages[max(oldest - 1, 0) :]
    if not all(isinstance(message, dict) for message in (messages[0], *looked_at)):
        return []
    length, _, tail = _edges(instructions)
    first = _mark(messages[0])
    start = zlib.crc32(f"{first}|{length}|{tail}".encode("utf-8", "replace"))
    before, found = first, []
    for count, message in enumerate(looked_at, max(oldest, 1)):
        mark = first if count == 1 else _mark(message)
        found.append(zlib.crc32(b"%d|%d|%d" % (count, before, mark), start))
        before = mark
    return found[::-1][:BEGINNINGS]


def _mark(message: Mapping[str, object]) -> int:
    content = message.get("content")
    length, head, tail = _edges(message.get("output") or message.get("arguments") if content is None else content)
    call = message.get("call_id") or message.get("tool_call_id")
    text = f"{message.get('role')}|{call}|{length}|{head}|{tail}"
    return zlib.crc32(text.encode("utf-8", "replace"))


def _edges(content: object) -> tuple[int, str, str]:
    """Length, beginning and end of a text, or of the texts of several parts."""
    if isinstance(content, str):
        return len(content), content[:EDGE_CHARS], content[-EDGE_CHARS:]
    parts = content if isinstance(content, list) else ()
    texts = [_text_of(part) for part in parts if isinstance(part, dict)]
    return (sum(map(len, texts)), texts[0][:EDGE_CHARS], texts[-1][-EDGE_CHARS:]) if texts else (0, "", "")


def _text_of(part: Mapping[str, object]) -> str:
    return str(part.get("text") or part.get("id") or part.get("tool_use_id") or part.get("type"))
