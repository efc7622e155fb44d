"""Sends a suite's questions through the run's guard: within the budget, not while another agent measures the endpoint,
not while live traffic needs it. Unsalted, so that equal questions are answered alike.

Graders need the answer's text: one that ended at `max_tokens` before the reasoning did, shown or hidden, is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from slo_bench.guard.guard import Guard
from slo_bench.load.workload import Prompt
from slo_bench.measure.client import Client
from slo_bench.measure.excuses import REASONING
from slo_bench.measure.stream import REASONING_ONLY, Sample
from slo_bench.measure.targets import Target
from slo_bench.quality.answers import Question
from slo_bench.quality.asking import Respondent, Send
from slo_bench.quality.text import without_reasoning


def unsalted(client: Client) -> Callable[[Target, Prompt], Awaitable[Sample]]:
    """As `Client.measure`, but for the salt."""

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
    """Sends where and when the guard lets it. Raises StoppedError where it never will."""

    async def send(who: Respondent, question: Question) -> Sample:
        options = {**question.parameters, **who.target.options}
        optional = who.target.optional | frozenset(question.parameters)  # a temperature, for models that have none
        return await guard.measure(replace(who.target, options=options, optional=optional), question.prompt)

    return send
