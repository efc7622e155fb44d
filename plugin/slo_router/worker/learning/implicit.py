"""Weak signals that an answer was bad, as one worker notices them, and the sums that it adds in Redis. No text is kept.

    schema_violated     the answer breaks its JSON schema
    tool_call_refused   the conversation's next request says that the answer's tool call was invalid
    asked_again         the same key sends the same prompt again, `AGAIN_AFTER_S` to `AGAIN_WITHIN_S` after the answer

Every whole answer of the group counts as examined, and has one signal at most, whatever follows. If a prompt comes
again sooner, the client repeats itself or samples several answers. If a prompt had already come before, it is a
monitor's, or a greeting that many send. Neither shows a discontented user. Failed requests are not kept, so a client
that tries again after an error gives no signal.

A worker knows only the last `MOST` answers that it sent itself, so several workers notice fewer signals.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import IMPLICIT_KEY, implicit_key
from slo_router.contract.redis.link import AsyncClient
from slo_router.worker.learning.days import KEPT_DAYS, day_of, drop_old
from slo_router.worker.learning.feedback import ANSWERS, SCORE, SECONDS

MOST = 10_000  # answers that may still get a signal
MOST_SUMS = 10_000  # sums that wait for Redis
AGAIN_AFTER_S, AGAIN_WITHIN_S = 10.0, 300.0
TELL_S = 5.0  # the sums are written to Redis no more often


class Ended(NamedTuple):
    """A request that was answered with success. Times are Unix seconds.

    `turn` is a keyed hash of the request's key and prompt. `refused` is that hash of the earlier prompt whose answer
    the request complains about. Each is `None` where there is none.
    """

    deployment: str
    category: str
    arrived_s: float
    ended_s: float
    turn: int | None = None
    refused: int | None = None
    is_broken: bool = False  # the answer breaks its schema
    may_repeat: bool = False  # whether the same prompt again is a signal


@dataclass(slots=True)
class _Answer:
    deployment: str
    category: str
    ended_s: float
    is_repeated: bool = False  # its prompt had come shortly before
    has_signal: bool = False


class Implicit:
    """The answers of one worker that may still get a signal, and the sums that wait for Redis."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._answers: OrderedDict[int, _Answer] = OrderedDict()  # by turn, the latest last
        self._sums: dict[tuple[str, str], list[float]] = {}  # by day and cell: answers, score, seconds
        self._told_s = 0.0

    def see(self, ended: Ended) -> None:
        """Counts one more answer, and the signal that its request gives of an earlier answer."""
        answer = _Answer(ended.deployment, ended.category, ended.ended_s)
        self._add(answer, 1.0, 1.0, ended.ended_s % DAY_S)
        if ended.is_broken:
            self._signal(answer)
        refused = None if ended.refused is None else self._answers.get(ended.refused)
        if refused is not None and refused.ended_s < ended.arrived_s:
            self._signal(refused)
        if ended.turn is None:
            return
        before = self._answers.pop(ended.turn, None)
        if before is not None:
            since_s = ended.arrived_s - before.ended_s
            answer.is_repeated = since_s <= AGAIN_WITHIN_S
            if ended.may_repeat and not before.is_repeated and AGAIN_AFTER_S <= since_s <= AGAIN_WITHIN_S:
                self._signal(before)
        self._answers[ended.turn] = answer
        if len(self._answers) > MOST:
            self._answers.popitem(last=False)

    async def tell(self, client: AsyncClient, now_s: float) -> None:
        """Adds to the sums in Redis. Raises redis errors; the sums to write are then lost."""
        if not self._sums or abs(now_s - self._told_s) < TELL_S:
            return
        sums, self._sums, self._told_s = self._sums, {}, now_s
        index, days = self._prefix + IMPLICIT_KEY, dict.fromkeys(day for day, _ in sums)
        pipeline = client.pipeline(transaction=False)
        for (day, cell), parts in sums.items():
            for part, value in zip((ANSWERS, SCORE, SECONDS), parts, strict=True):
                pipeline.hincrbyfloat(implicit_key(self._prefix, day), f"{cell}:{part}", value)
        for day in days:
            pipeline.expire(implicit_key(self._prefix, day), round(KEPT_DAYS * DAY_S))
            pipeline.hincrby(index, day, 1)  # last, so that a reader of the index finds the sums
        await pipeline.execute()
        await drop_old(client, index, now_s)

    def _signal(self, answer: _Answer) -> None:
        if not answer.has_signal:
            answer.has_signal = True
            self._add(answer, 0.0, -1.0, 0.0)

    def _add(self, answer: _Answer, answers: float, score: float, seconds: float) -> None:
        key = day_of(answer.ended_s), f"{answer.deployment}:{answer.category}"
        if key not in self._sums and len(self._sums) >= MOST_SUMS:  # Redis is away
            return
        sums = self._sums.setdefault(key, [0.0, 0.0, 0.0])
        for i, value in enumerate((answers, score, seconds)):
            sums[i] += value
