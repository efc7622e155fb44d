"""Which deployment probably holds a conversation's beginning in its prefix cache. Pure.

Only conversations that this proxy sent are known. The messages of a turn begin with those of the turn before. So the
fingerprint of the longest known beginning tells which deployment answered it. A fingerprint covers the roles, lengths,
edges and middles of a few messages. So a long prompt costs no more than a short one, and no text is kept. Where no
beginning is known (the client cut the history, or the server holds it), the session counts. A keyed hash of its name
tells which deployment answered its last turn. A worker tells the other workers at most its `NEWS` latest turns at a
time.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slo_router.contract.ages import CACHE_LASTS_S

MOST = 10_000  # turns and sessions remembered, the latest
NEWS = 512
BEGINNINGS = 8  # the longest beginnings of a conversation are looked up; a turn adds two or three messages
EDGE_CHARS = 128
MAX_TOKENS = 10_000_000
NO_SESSION = 0


class Cached(NamedTuple):
    """A beginning of the prompt that a deployment has seen."""

    deployment_id: str
    tokens: int  # of the prompt, estimated; for a session, the tokens that its last turn read from the cache
    at_s: float = 0.0  # Unix seconds of the turn, or of another worker's report

    def counts(self, now_s: float) -> bool:
        """Whether it may still be in the prefix cache at `now_s` (Unix seconds)."""
        return abs(now_s - self.at_s) < CACHE_LASTS_S


NOTHING_CACHED = Cached("", 0)


class Conversations:
    """The turns and sessions that one worker knows, by fingerprint or by the hash of a session."""

    def __init__(self) -> None:
        self._turns: OrderedDict[int, Cached] = OrderedDict()
        self._news: OrderedDict[int, Cached] = OrderedDict()

    def find(self, beginnings: Sequence[int]) -> Cached:
        """The longest known beginning, else `NOTHING_CACHED`. `fingerprints` makes `beginnings`."""
        for beginning in beginnings:
            if (cached := self._turns.get(beginning)) is not None:
                return cached
        return NOTHING_CACHED

    def remember(self, beginnings: Sequence[int], cached: Cached) -> None:
        """Notes that a deployment answered the whole prompt."""
        if beginnings:
            self._keep(beginnings[0], cached)
            self._tell(beginnings[0], cached)

    def release(self, beginnings: Iterable[int]) -> None:
        """Forgets a conversation whose answer broke its SLO. Its next turn may go to any deployment."""
        for beginning in beginnings:
            if self._turns.pop(beginning, None) is not None:
                self._tell(beginning, NOTHING_CACHED)

    def export(self) -> list[tuple[int, str, int]]:
        """The latest changes since the last call, at most `NEWS`: (fingerprint, deployment id, tokens), JSON values."""
        news = [(beginning, cached.deployment_id, cached.tokens) for beginning, cached in self._news.items()]
        self._news.clear()
        return news

    def absorb(self, said: object, now_s: float) -> None:
        """Adds what another worker exported, dated `now_s` (Unix seconds). Ignores malformed entries."""
        for entry in said[:NEWS] if isinstance(said, list) else ():
            match entry:
                case [int(beginning), str(name), int(tokens)] if 0 <= tokens <= MAX_TOKENS:
                    self._keep(beginning, Cached(name, tokens, now_s))

    def _tell(self, beginning: int, cached: Cached) -> None:
        self._news[beginning] = cached
        self._news.move_to_end(beginning)
        if len(self._news) > NEWS:  # without Redis nothing calls `export`
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
    """Fingerprints of the conversation's beginnings, the whole first. Empty if `messages` is neither list nor string.

    Each one covers the first message, the last two and their number, so a long history costs no more than a short one.
    Of `instructions` only the length and the end count: clients put a header at its start that changes with each
    request, and providers remove it.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list) or not messages:
        return []
    oldest = max(len(messages) - BEGINNINGS, 0)
    looked_at = messages[max(oldest - 1, 0) :]
    if not all(isinstance(message, dict) for message in (messages[0], *looked_at)):
        return []
    said = _texts(instructions) or [""]
    first = _mark(messages[0])
    start = zlib.crc32(f"{first}|{sum(map(len, said))}|{said[-1][-EDGE_CHARS:]}".encode("utf-8", "replace"))
    before, found = first, []
    for count, message in enumerate(looked_at, max(oldest, 1)):
        mark = first if count == 1 else _mark(message)
        found.append(zlib.crc32(b"%d|%d|%d" % (count, before, mark), start))
        before = mark
    return found[::-1][:BEGINNINGS]


def _mark(message: Mapping[str, object]) -> int:
    content = message.get("content")
    if content is None:
        content = message.get("output") or message.get("arguments") or message.get("id")
    call = message.get("call_id") or message.get("tool_call_id")
    text = "|".join((str(message.get("role")), str(call), *map(_brief, _texts(content))))
    return zlib.crc32(text.encode("utf-8", "replace"))


def _brief(text: str) -> str:
    """A text's length, beginning, middle and end: two prompts of one length may share only their template."""
    size, middle = len(text), (len(text) - EDGE_CHARS) // 2
    if size <= 3 * EDGE_CHARS:
        return text
    return f"{size}|{text[:EDGE_CHARS]}|{text[middle : middle + EDGE_CHARS]}|{text[-EDGE_CHARS:]}"


def _texts(content: object) -> list[str]:
    """The text, or for each of its parts a text that tells it from others."""
    if isinstance(content, str):
        return [content] if content else []
    return [_text_of(part) for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _text_of(part: Mapping[str, object]) -> str:
    return str(part.get("text") or part.get("id") or part.get("tool_use_id") or _data_of(part))


def _data_of(part: Mapping[str, object]) -> str:
    """The longest text in a picture, a file or the like. A URL loses its query, which may grant access for a while."""
    inner = [value for value in part.values() if isinstance(value, dict)]
    texts = [text for one in (part, *inner) for text in one.values() if isinstance(text, str)]
    found = max(texts, key=len, default="")
    return found.partition("?")[0] if found.startswith("http") else found
