"""Grades an answer. Graders that need a process or another model get it from `Tools`. The others are pure.

Grading never asks the deployment under test: a changed grader grades the kept answers again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from slo_bench.grading.graders import Code, Judge, PatternTimeoutError
from slo_bench.grading.sandbox import code_in, run_tests
from slo_bench.grading.text import without_reasoning
from slo_bench.quality import judge
from slo_bench.quality.answers import Failure, Reply
from slo_bench.quality.asking import Asker, Respondent
from slo_bench.quality.scores import Grade
from slo_bench.quality.suite import Item
from slo_router.contract.judge.verdicts import score as score_of
from slo_router.contract.judge.verdicts import verdict as verdict_in

JUDGE_FAILED = "judge_error"
JUDGE_UNREADABLE = "judge_unreadable"
PATTERN_TIMEOUT = "pattern_timeout"
SANDBOX_UNAVAILABLE = "sandbox_unavailable"


@dataclass(frozen=True, slots=True)
class Tools:
    """The graders' tools. `processes` bounds the number of parallel sandboxes."""

    asker: Asker
    judge: Respondent | None
    processes: asyncio.Semaphore


async def grade(item: Item, answer: Reply, tools: Tools) -> Grade:
    """The item's grade. Raises StoppedError if the judge may not be asked any more."""
    text, grader = without_reasoning(answer.text), item.grader
    score: float | None = None
    problem: str | None = None
    if isinstance(grader, Code):
        score, problem = await _tested(grader, text, tools.processes)
    elif isinstance(grader, Judge):
        score, problem = await _judged(item, grader, text, tools)
    else:
        try:
            score = grader.score(text)
        except PatternTimeoutError:
            problem = PATTERN_TIMEOUT
    return Grade(item.id, score, problem, answer.cut, answer.at_s)


async def _tested(grader: Code, text: str, processes: asyncio.Semaphore) -> tuple[float | None, str | None]:
    async with processes:
        outcome = await run_tests(code_in(text), grader.expected, grader.timeout_s)
    return (None, SANDBOX_UNAVAILABLE) if outcome == "unavailable" else (float(outcome == "passed"), None)


async def _judged(item: Item, grader: Judge, text: str, tools: Tools) -> tuple[float | None, str | None]:
    if tools.judge is None:
        return None, JUDGE_FAILED
    verdicts = []
    for answer_first in (True, False):
        question = judge.judge_question(item, grader, text, answer_first=answer_first)
        said = await tools.asker.ask(tools.judge, question)
        if isinstance(said, Failure):
            return None, JUDGE_FAILED
        verdicts.append(verdict_in(without_reasoning(said.text)))
    score = score_of(*verdicts)
    return score, JUDGE_UNREADABLE if score is None else None
