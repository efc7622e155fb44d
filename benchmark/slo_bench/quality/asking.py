"""Asks deployments, or takes the answer kept from an earlier run.

An answer is kept at once, so none is paid for twice. Errors are not kept: the next run asks again. An empty answer is
no error. An answer that a filter withheld, or that ended at `max_tokens` during its reasoning, is an error.

Questions go through the run's guard. They have no salt, so that equal questions get equal answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import time
from typing import TypeAlias

from slo_bench.grading.text import without_reasoning
from slo_bench.guard.guard import Guard
from slo_bench.measure.client import Client
from slo_bench.measure.excuses import REASONING
from slo_bench.measure.stream import EMPTY, REASONING_ONLY, Sample
from slo_bench.measure.targets import Measure, Target
from slo_bench.prompts.workload import Prompt
from slo_bench.quality.answers import AnswerStore, Failure, Question, Reply, answer_key
from slo_router.contract.model import Facts


@dataclass(frozen=True, slots=True)
class Respondent:
    """A deployment or a judge that is asked."""

    facts: Facts
    target: Target


Send: TypeAlias = Callable[[Respondent, Question], Awaitable[Sample]]


class Asker:
    """Takes an answer from the store, else asks. `concurrency` is per deployment.

    The store's answers count from `not_before_s` (Unix seconds) on.
    """

    def __init__(self, send: Send, store: AnswerStore, *, concurrency: int, not_before_s: float) -> None:
        self._send, self._store = send, store
        self._concurrency, self._not_before_s = concurrency, not_before_s
        self._slots: dict[str, asyncio.Semaphore] = {}
        self.asked = 0  # requests sent
        self.kept = 0  # answers taken from the store

    async def ask(self, who: Respondent, question: Question) -> Reply | Failure:
        """The answer, or a Failure. Raises what `send` raises."""
        name = who.facts.deployment_id
        key = answer_key(name, who.facts.model, question, {**who.target.settings, **who.target.extra_body})
        async with self._slots.setdefault(name, asyncio.Semaphore(self._concurrency)):
            known = self._store.get(key, self._not_before_s)
            if known is not None:
                self.kept += 1
                return known
            sample = await self._send(who, question)
            self.asked += 1
        if sample.error is not None and (sample.error != EMPTY or sample.excuse is not None):
            return Failure(sample.error, sample.excuse)
        answer = Reply(sample.answer, time(), sample.finish_reason, sample.prompt_tokens, sample.completion_tokens)
        self._store.put(key, answer)
        return answer


def unsalted(client: Client) -> Measure:
    """Like `Client.measure`, but without the salt."""

    async def measure(target: Target, prompt: Prompt) -> Sample:
        messages = [dict(message) for message in prompt.messages]
        return _with_text(await client.send(target, {**target.body(prompt, ""), "messages": messages}))

    return measure


def _with_text(sample: Sample) -> Sample:
    thought = sample.reasoning_chars > 0 or bool(sample.answer.strip())
    if sample.error is None and sample.finish_reason == "length" and thought and not without_reasoning(sample.answer):
        return replace(sample, error=REASONING_ONLY, excuse=REASONING)
    return sample


def guarded(guard: Guard) -> Send:
    """Sends when the guard allows it. Raises StoppedError if it never does."""

    async def send(who: Respondent, question: Question) -> Sample:
        options = {**question.parameters, **who.target.options}
        optional = who.target.optional | frozenset(question.parameters)  # some models refuse a temperature
        return await guard.measure(replace(who.target, options=options, optional=optional), question.prompt)

    return send
