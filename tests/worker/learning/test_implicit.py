"""Each answer has at most one weak signal, and only a checked answer has one. Redis holds only the sums."""

from __future__ import annotations

import time

import pytest

from slo_router.contract.ages import DAY_S
from slo_router.contract.keys import IMPLICIT_KEY, implicit_key
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.group import GroupSettings
from slo_router.quality.sources import FEEDBACK, IMPLICIT
from slo_router.worker.learning.days import day_of
from slo_router.worker.learning.feedback import Feedback, sources_of
from slo_router.worker.learning.implicit import MOST, TELL_S, Ended, Implicit

PREFIX = "t:"
NOW_S = time.time()
ALSO = GroupSettings(implicit_feedback=["asked_again"])


def ended(turn: int | None = 1, after_s: float = 0.0, took_s: float = 1.0, **changed: object) -> Ended:
    """A request that arrived `after_s` after `NOW_S` and ended `took_s` later."""
    fields = {"turn": turn, "may_repeat": True, **changed}
    return Ended("small", "chat", NOW_S + after_s, NOW_S + after_s + took_s, **fields)  # type: ignore[arg-type]


def signals(*seen: Ended) -> float:
    """How many answers had a signal."""
    implicit = Implicit(PREFIX)
    for one in seen:
        implicit.see(one)
    sums = list(implicit._sums.values())
    assert sum(answers for answers, _, _ in sums) == len(seen)
    return sum(answers - score for answers, score, _ in sums)


def test_an_answer_alone_has_no_signal() -> None:
    assert signals(ended()) == 0


@pytest.mark.parametrize(("since_s", "count"), [(-0.5, 0), (0.1, 0), (9.9, 0), (10.5, 1), (299.5, 1), (300.5, 0)])
def test_the_same_prompt_again_is_a_signal_after_somebody_could_have_read_the_answer(
    since_s: float, count: int
) -> None:
    """With a negative `since_s` both requests were in flight together: the client samples several answers."""
    assert signals(ended(), ended(after_s=1 + since_s)) == count


def test_another_prompt_is_none() -> None:
    assert signals(ended(1), ended(2, 60), ended(None, 70), ended(None, 90)) == 0


def test_a_prompt_that_comes_again_and_again_is_a_monitors() -> None:
    assert signals(*(ended(after_s=60 * i) for i in range(20))) == 1
    assert signals(ended(), ended(after_s=2), ended(after_s=60)) == 0


def test_the_same_prompt_again_counts_only_where_asked_for() -> None:
    assert signals(ended(), ended(after_s=60, may_repeat=False)) == 0


def test_a_refused_call_is_the_answers_that_made_it() -> None:
    assert signals(ended(1), ended(2, 5, refused=1)) == 1
    assert signals(ended(1), ended(2, 5, refused=3)) == 0
    assert signals(ended(1), ended(2, 0.5, refused=1)) == 0  # it came before the answer


def test_an_answer_has_one_signal_at_most() -> None:
    again = ended(1, 60)
    assert signals(ended(1, is_broken=True), again) == 1
    assert signals(ended(1), ended(2, 5, refused=1), ended(3, 6, refused=1), again) == 1


def test_what_is_remembered_is_bounded() -> None:
    implicit = Implicit(PREFIX)
    for turn in range(MOST + 5):
        implicit.see(ended(turn))
    assert len(implicit._answers) == MOST
    assert len(implicit._sums) == 1


async def test_the_sums_reach_redis_and_are_read_as_weak(link: AsyncClient) -> None:
    implicit, feedback = Implicit(PREFIX), Feedback(PREFIX)
    for one in (ended(1), ended(2), ended(3, -DAY_S, is_broken=True)):
        implicit.see(one)
    await implicit.tell(link, NOW_S)
    implicit.see(ended(1, 60))  # a signal for an answer that Redis already counts
    await implicit.tell(link, NOW_S + TELL_S - 1)
    await implicit.tell(link, NOW_S + TELL_S)
    await feedback.refresh(link, NOW_S)
    assert feedback.sums == {}  # ratings alone
    await feedback.refresh(link, NOW_S, [IMPLICIT])
    before, today = feedback.sums["small"]["chat"]
    assert (before.answers, before.score, before.at_s) == (1, 0, pytest.approx(NOW_S - DAY_S, abs=2))
    assert (today.source, today.answers, today.score) == (IMPLICIT, 3, 2)
    assert 0 < await link.ttl(implicit_key(PREFIX, day_of(NOW_S))) <= 90 * DAY_S
    assert len(await link.hkeys(PREFIX + IMPLICIT_KEY)) == 2


async def test_without_a_signal_heard_nothing_is_written(link: AsyncClient) -> None:
    await Implicit(PREFIX).tell(link, NOW_S)
    assert await link.keys("*") == []


def test_only_what_is_on_is_read() -> None:
    assert sources_of([GroupSettings()], feedback=False) == []
    assert sources_of([GroupSettings(), ALSO], feedback=False) == [IMPLICIT]
    assert sources_of([ALSO], feedback=True) == [FEEDBACK, IMPLICIT]
