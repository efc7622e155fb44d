"""Takes one rating of a request. The request's record says which deployment answered, and whose request it was.

No request waits for this. A record is found by its request's id, as long as the stream keeps it (`log.stream_maxlen`).
Rated ids are kept as long as their records, so that no request is rated twice. The id is noted before the sums: a
failure in between loses a rating, but counts none twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import msgspec

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import FEEDBACK_KEY, RATED_KEY, REQUESTS_STREAM, feedback_key, request_index_key
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import PluginSettings
from slo_router.errors import FeedbackError
from slo_router.worker.learning.days import KEPT_DAYS, day_of, drop_old
from slo_router.worker.learning.feedback import ANSWERS, SCORE, SECONDS
from slo_router.worker.request_log import NODE

UP, DOWN = 1.0, 0.0  # a thumb
ANYBODY = "*"  # the operator, who may rate every request


class Rating(NamedTuple):
    """A score (0..1) of a request's answer. `key_hash` is the hash of the key that rates, or ANYBODY."""

    request_id: str
    score: float
    key_hash: str | None


class Rated(msgspec.Struct, frozen=True):
    """What a request's record says of it."""

    request_id: str
    ts: float
    outcome: str
    deployment: str | None = None
    category: str | None = None
    key_hash: str | None = None


async def rate(client: AsyncClient, settings: PluginSettings, rating: Rating) -> Rated:
    """Counts a rating, and returns what the record says of the request. Raises FeedbackError, and redis errors."""
    prefix = settings.key_prefix
    if not 0 <= rating.score <= 1:  # also for NaN
        raise FeedbackError(400, f"score: {rating.score}, expected 0 to 1")
    found = await _find(client, prefix + REQUESTS_STREAM, rating.request_id)
    if found is None:
        raise FeedbackError(
            404,
            f"request_id: {rating.request_id!r:.200}, expected the `id` of a request that ended at least some seconds "
            f"ago and is among the last {settings.log.stream_maxlen:,}",
        )
    record, time_ms = found
    if rating.key_hash not in (record.key_hash, ANYBODY):
        raise FeedbackError(403, f"request_id: {record.request_id!r:.200} is not a request of this key")
    if record.outcome not in ("success", "disconnected") or record.deployment is None or record.category is None:
        raise FeedbackError(
            400,
            f"request_id: {record.request_id!r:.200} has no answer to rate: {record.outcome}, or not decided by SLO",
        )
    if not await client.zadd(prefix + RATED_KEY, {record.request_id: time_ms}, nx=True):
        raise FeedbackError(409, f"request_id: {record.request_id!r:.200} was rated already")
    await _count(client, settings, record, rating.score)
    return record


async def _find(client: AsyncClient, stream: str, request_id: str) -> tuple[Rated, float] | None:
    """The record, and the millisecond in which it was written."""
    time_ms = await client.zscore(request_index_key(stream), request_id)
    if time_ms is None:
        return None
    at = f"{time_ms:.0f}"  # all entries of this millisecond
    page = cast("list[tuple[str, Mapping[str, str]]]", await client.xrevrange(stream, max=at, min=at))
    for _, fields in page:
        try:
            record = msgspec.json.decode(fields.get("record", ""), type=Rated)
        except (msgspec.MsgspecError, UnicodeError):
            continue
        if record.request_id == request_id:
            return record, time_ms
    return None


async def _count(client: AsyncClient, settings: PluginSettings, record: Rated, score: float) -> None:
    prefix, day = settings.key_prefix, day_of(record.ts)
    cell = f"{record.deployment}:{record.category}"
    pipeline = client.pipeline(transaction=False)
    pipeline.hincrbyfloat(feedback_key(prefix, day), f"{cell}:{ANSWERS}", 1.0)
    pipeline.hincrbyfloat(feedback_key(prefix, day), f"{cell}:{SCORE}", score)
    pipeline.hincrbyfloat(feedback_key(prefix, day), f"{cell}:{SECONDS}", record.ts % DAY_S)
    pipeline.expire(feedback_key(prefix, day), round(KEPT_DAYS * DAY_S))
    pipeline.hincrby(prefix + FEEDBACK_KEY, day, 1)  # after the sums, so that a reader of the index finds them
    pipeline.zremrangebyrank(prefix + RATED_KEY, 0, -(settings.log.stream_maxlen + NODE + 1))
    *_, days, _ = await pipeline.execute()
    if days == 1:  # a new day: the oldest go
        await drop_old(client, prefix + FEEDBACK_KEY, record.ts)
