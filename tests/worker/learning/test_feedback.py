"""Ratings: who may give them, that none counts twice, and what the workers read of them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import FEEDBACK_KEY, RATED_KEY, feedback_key
from slo_router.contract.record import RequestRecord
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.group import GroupSettings
from slo_router.errors import FeedbackError
from slo_router.operator.cli import app
from slo_router.worker.learning.days import KEPT_DAYS, day_of
from slo_router.worker.learning.feedback import Feedback
from slo_router.worker.learning.rating import ANYBODY, Rating, rate
from slo_router.worker.request_log import NODE, RequestLog
from tests.shared.record_builders import line_of, write_config

PREFIX = "t:"
SETTINGS = PluginSettings(groups={"smart": GroupSettings()}, key_prefix=PREFIX, feedback=True)
NOW_S = time.time()


async def record(link: AsyncClient, *request_ids: str, **changed: object) -> None:
    """Writes records as a worker does."""
    log = RequestLog(LogSettings(), PREFIX)
    for request_id in request_ids:
        fields = {"request_id": request_id, "key_hash": "mine", "ts": NOW_S, **changed}
        log.offer(RequestRecord.model_validate({**json.loads(line_of()), **fields}))
    await log.flush(link)


async def read(link: AsyncClient) -> Feedback:
    feedback = Feedback(PREFIX)
    await feedback.refresh(link, NOW_S)
    return feedback


async def refused(link: AsyncClient, rating: Rating) -> tuple[int, str]:
    with pytest.raises(FeedbackError) as error:
        await rate(link, SETTINGS, rating)
    return error.value.status, str(error.value)


async def test_ratings_are_summed_by_deployment_category_and_day(link: AsyncClient) -> None:
    await record(link, "a", "b")
    await record(link, "c", ts=NOW_S - DAY_S)
    for name, score in (("a", 1.0), ("b", 0.25), ("c", 0.0)):
        assert (await rate(link, SETTINGS, Rating(name, score, "mine"))).deployment == "small"
    before, today = (await read(link)).sums["small"]["ner"]
    assert (before.source, before.answers, before.score) == ("feedback", 1, 0)
    assert (today.answers, today.score) == (2, 1.25)
    assert (before.at_s, today.at_s) == (pytest.approx(NOW_S - DAY_S, abs=1), pytest.approx(NOW_S, abs=1))


async def test_a_key_rates_its_own_requests_and_the_operator_any(link: AsyncClient) -> None:
    await record(link, "a")
    for stranger in ("another", None):
        assert (await refused(link, Rating("a", 1.0, stranger)))[0] == 403
    assert (await read(link)).sums == {}
    await rate(link, SETTINGS, Rating("a", 1.0, ANYBODY))
    assert (await read(link)).sums != {}


async def test_a_request_is_rated_once(link: AsyncClient) -> None:
    await record(link, "a")
    await rate(link, SETTINGS, Rating("a", 1.0, "mine"))
    assert (await refused(link, Rating("a", 0.0, "mine")))[0] == 409
    assert [batch.answers for batch in (await read(link)).sums["small"]["ner"]] == [1]


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_score_lies_between_0_and_1(link: AsyncClient, score: float) -> None:
    await record(link, "a")
    status, why = await refused(link, Rating("a", score, "mine"))
    assert (status, "expected 0 to 1" in why) == (400, True)


async def test_what_is_unknown_or_has_no_answer_is_said(link: AsyncClient) -> None:
    await record(link, "failed", outcome="error")
    await record(link, "elsewhere", category=None)
    assert (await refused(link, Rating("nobody", 1.0, "mine")))[0] == 404
    for name in ("failed", "elsewhere"):
        status, why = await refused(link, Rating(name, 1.0, "mine"))
        assert (status, "no answer to rate" in why) == (400, True)


async def test_rated_ids_and_days_are_bounded(link: AsyncClient) -> None:
    """The stream's length bounds the ids, the age bounds the days."""
    settings = SETTINGS.model_copy(update={"log": LogSettings(stream_maxlen=1)})
    names = [str(number) for number in range(NODE + 3)]
    await record(link, *names)
    await record(link, "old", ts=NOW_S - (KEPT_DAYS + 1) * DAY_S)
    for name in ("old", *names):
        await rate(link, settings, Rating(name, 1.0, "mine"))
    assert await link.zcard(PREFIX + RATED_KEY) == NODE + 1
    assert await link.hkeys(PREFIX + FEEDBACK_KEY) == [day_of(NOW_S)]
    assert 0 < await link.ttl(feedback_key(PREFIX, day_of(NOW_S))) <= KEPT_DAYS * DAY_S


async def test_only_a_day_that_changed_is_read_again_and_a_bad_writer_steers_nothing(link: AsyncClient) -> None:
    await record(link, "a", "b")
    await rate(link, SETTINGS, Rating("a", 1.0, "mine"))
    feedback = await read(link)
    sums = feedback.sums
    key = feedback_key(PREFIX, day_of(NOW_S))
    await link.hset(key, mapping={"large:ner:answers": "1", "large:ner:score": "9", "large:ner:seconds": "5"})
    await feedback.refresh(link, NOW_S)
    assert feedback.sums is sums
    await rate(link, SETTINGS, Rating("b", 1.0, "mine"))
    await link.hset(PREFIX + FEEDBACK_KEY, "yesterday", "1")
    await feedback.refresh(link, NOW_S)
    assert list(feedback.sums) == ["small"]
    assert [batch.answers for batch in feedback.sums["small"]["ner"]] == [2]


async def test_the_command_rates_where_feedback_is_on(link: AsyncClient, server: ValkeyServer, tmp_path: Path) -> None:
    await record(link, "a")

    async def run(*arguments: str, **plugin: object) -> tuple[int, str]:
        config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "key_prefix": PREFIX, **plugin})
        command = ["feedback", "a", *arguments, "--config", str(config)]
        done = await asyncio.to_thread(CliRunner().invoke, app, command)  # the command runs its own loop
        return done.exit_code, done.output

    code, said = await run("--down")
    assert (code, "feedback: true" in " ".join(said.split())) == (1, True)
    assert (await run("--down", "--score", "1", feedback=True))[0] == 2
    assert await run("--down", feedback=True) == (0, "counted for small, ner\n")
    code, said = await run("--up", feedback=True)
    assert (code, "rated already" in said) == (1, True)
    (batch,) = (await read(link)).sums["small"]["ner"]
    assert (batch.answers, batch.score) == (1, 0)
