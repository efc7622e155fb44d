"""Asks a model whether an answer is better than the reference. It is asked in both orders: see `contract.judge`."""

from __future__ import annotations

from slo_bench.grading.graders import Judge
from slo_bench.prompts.workload import Prompt
from slo_bench.quality.answers import Question
from slo_bench.quality.suite import Item
from slo_router.contract.judge.verdicts import question

MAX_TOKENS = 512


def judge_question(item: Item, grader: Judge, answer: str, *, answer_first: bool) -> Question:
    """The question to the judge."""
    a, b = (answer, grader.expected) if answer_first else (grader.expected, answer)
    request = "\n\n".join(f"{message.role}: {message.content}" for message in item.messages)
    text = question(grader.criteria, request, a, b)
    return Question(Prompt(item.category, ({"role": "user", "content": text},), MAX_TOKENS), {"temperature": 0})
