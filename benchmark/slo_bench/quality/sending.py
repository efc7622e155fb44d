"""Sends a suite's questions through the run's guard: within the budget, not while another agent measures the endpoint,
not while live traffic needs it. Unsalted, so that equal questions are answered alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from slo_bench.client import Client
from slo_bench.operation.guard import Guard
from slo_bench.quality.answers import Question
from slo_bench.quality.asking import Respondent, Send
from slo_bench.stream import Sample
from slo_bench.targets import Target
from slo_bench.workload import Prompt


def unsalted(client: Client) -> Callable[[Target, Prompt], Awaitable[Sample]]:
    """As `Client.measure`, but for the salt."""

    async def measure(target: Target, prompt: Prompt) -> Sample:
        messages = [dict(message) for message in prompt.messages]
        return await client.send(target, {**target.body(prompt, ""), "messages": messages})

    return measure


def guarded(guard: Guard) -> Send:
    """Sends where and when the guard lets it. Raises StoppedError where it never will."""

    async def send(who: Respondent, question: Question) -> Sample:
        options = {**question.parameters, **who.target.options}
        return await guard.measure(replace(who.target, options=options), question.prompt)

    return send
