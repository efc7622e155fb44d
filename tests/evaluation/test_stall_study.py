"""The study of stalls: what it reads from an answer on each route, and which answers it counts as wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from evaluation.emulator import Fault, instant, running_endpoints
from evaluation.emulator.answers import words
from evaluation.emulator.record import Seen
from evaluation.robustness.stalls.asking import PATHS, Answer, Question, ask
from evaluation.robustness.stalls.checks import COUNTED, Findings, calls_of, examine, summed
from evaluation.robustness.stalls.fuzzing import faults, questions
from evaluation.robustness.stalls.world import NAMES, RETRIES, arms, document, phases
from slo_router.contract.settings.config import parse_settings

MARK = "#0000beef"
TEXT = "".join(words("a", MARK, 5))
GOOD = Answer(Question(MARK), {"x-slo-selected-model": "a"}, TEXT, frozenset({"a-1"}), 0.1, is_finished=True)
CALL = Seen("/v1/chat/completions", True, {}, (), "ok", 200, True, mark=MARK, at_s=10.0, content_s=10.1)
STALLED = replace(CALL, fault="stall", completed=False, content_s=None, at_s=9.0, closed_s=9.9)


def found(answer: Answer, *calls: tuple[str, Seen]) -> set[str]:
    counts = examine([answer], {MARK: calls}).counts
    return {name for name in COUNTED if counts[name] and name not in ("requests", "calls", "rescued")}


def test_a_right_answer_has_no_fault_whether_it_was_rescued_or_not() -> None:
    assert not found(GOOD, ("a", CALL))
    rescued = GOOD._replace(headers={**GOOD.headers, "x-slo-rescued": "deadline"})
    assert not found(rescued, ("b", STALLED), ("a", CALL))
    assert examine([rescued], {MARK: [("b", STALLED), ("a", CALL)]}) == Findings(
        {**dict.fromkeys(COUNTED, 0), "requests": 1, "calls": 2, "rescued": 1}
    )


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (GOOD._replace(text="", error="HTTP 500"), "lost"),
        (GOOD._replace(is_finished=False), "broken"),
        (GOOD._replace(text=TEXT + TEXT), "mixed"),
        (GOOD._replace(text=TEXT.replace(MARK, "#0000cafe")), "mixed"),
        (GOOD._replace(ids=frozenset({"a-1", "b-1"})), "mixed"),
        (GOOD._replace(headers={"x-slo-selected-model": "b"}), "wrong_headers"),
        (GOOD._replace(headers={**GOOD.headers, "x-slo-rescued": "deadline"}), "wrong_headers"),  # but only one call
    ],
)
def test_what_is_wrong_with_an_answer_is_found(answer: Answer, fault: str) -> None:
    assert found(answer, ("a", CALL)) == {fault}


def test_a_client_that_left_has_lost_nothing() -> None:
    left = Answer(Question(MARK, leaves_s=0.1), error="left")
    assert not found(left, ("a", replace(CALL, completed=False, closed_s=10.1)))


@pytest.mark.parametrize("closed_s", [None, 15.0])
def test_a_loser_whose_connection_stays_open_is_found(closed_s: float | None) -> None:
    rescued = GOOD._replace(headers={**GOOD.headers, "x-slo-rescued": "deadline"})
    assert found(rescued, ("b", replace(STALLED, closed_s=closed_s)), ("a", CALL)) == {"slow_to_close"}
    went_on = replace(STALLED, closed_s=None, ended_s=10.0)  # before the winner had a token
    assert not found(rescued, ("b", went_on), ("a", CALL))
    assert not found(rescued, ("b", replace(STALLED, status=500, closed_s=None)), ("a", CALL))  # it ended by itself


def test_findings_add_up() -> None:
    one = examine([GOOD], {MARK: [("a", CALL), ("b", CALL)]})
    assert (one.extra, summed([one, one]).counts["calls"], summed([]).extra) == (1.0, 4, 0.0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("route", PATHS)
def test_an_answer_is_read_on_every_route_and_nothing_is_wrong_with_it(route: str, stream: bool) -> None:
    async def answer() -> Answer:
        async with httpx.AsyncClient(base_url=handle.url) as client:
            return await ask(client, Question(MARK, route, stream))

    with running_endpoints([instant("a")]) as (handle,):
        got = asyncio.run(answer())
        calls = calls_of({"a": handle.seen()})
    assert (got.error, got.is_finished, got.ttft_s is not None) == (None, True, stream)
    labelled = got._replace(headers={**got.headers, "x-slo-selected-model": "a"})
    assert got.text.startswith(f"[a] {MARK} ")
    assert not found(labelled, *calls[MARK])


def test_every_phase_is_played_and_the_configurations_are_accepted() -> None:
    assert [phase.name for phase in phases(0)] == list(NAMES)
    bases = dict.fromkeys("abc", "http://127.0.0.1:9/v1")
    for arm in arms({"deadline": True}):
        made = document(arm.proxy, bases, arm.rescue)
        groups = parse_settings(made, {}).plugin.groups
        assert groups["smart"].rescue.is_on == (arm.rescue is not None)
    assert document("litellm", bases, None)["router_settings"] == {"num_retries": RETRIES}


def test_random_questions_and_faults_follow_from_the_seed() -> None:
    assert list(questions(50, 1)) == list(questions(50, 1)) != list(questions(50, 2))
    assert {question.route for question in questions(100, 0)} == set(PATHS)
    assert sum(fault.share for fault in faults(0)) < 1
    assert all(isinstance(fault, Fault) for fault in faults(0))
