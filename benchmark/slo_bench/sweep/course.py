"""Sweeps one deployment: for each prompt length first requests one at a time, then open loops at rising rates.

Every step starts on an idle server. It may take twice its sending time and two unloaded answers; then requests in
flight are cancelled. The sweep of a deployment ends if it does not answer single requests, or if most requests fail
with an excuse (`excuses`): a refusal is not saturation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from time import perf_counter, time

from slo_bench.errors import StoppedError
from slo_bench.load.arrivals import gamma
from slo_bench.load.plan import Cell
from slo_bench.load.sending import Clock, Sender, Sent
from slo_bench.measure.targets import Measure
from slo_bench.prompts.sizing import CHARS_PER_TOKEN, characters, resized, vocabulary
from slo_bench.prompts.workload import Prompt
from slo_bench.sweep.climbing import Judged, judge, next_rate
from slo_bench.sweep.regression import fit_sweep
from slo_bench.sweep.step import Step, figures
from slo_router.contract.model import LatencyFit, Slo

ALONE = 6  # requests one at a time, after a discarded one
LEAST_REQUESTS, MOST_REQUESTS = 12, 400  # of a step
PATIENCE = 2.0  # a step may take this many times its sending time


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a sweep. If `rates` is empty, the sweep finds them. `target`: share of requests to keep the SLO."""

    lengths: tuple[int, ...] = (128, 1024, 4096)  # tokens of the prompt
    rates: tuple[float, ...] = ()  # requests per second, rising
    burstiness: float = 1.0
    step_s: float = 10.0
    output_tokens: int = 64
    target: float = 0.9
    seed: int = 0


@dataclass(slots=True)
class Swept:
    """The result of a deployment's sweep. `ended_early` tells why it is incomplete."""

    deployment_id: str
    categories: tuple[str, ...]
    slo: Slo
    too_long: tuple[int, ...] = ()  # lengths that its context has no room for
    judged: list[Judged] = field(default_factory=list)  # of all lengths, in the order of their measurement
    fit: LatencyFit | None = None
    ended_early: str | None = None
    published: bool | None = None
    notes: tuple[str, ...] = ()  # how requests were changed


OnStep = Callable[[Swept, Judged], None]


class Course:
    """The sweep of one deployment. `cells` are its categories; their prompts are brought to each length."""

    def __init__(
        self, cells: Sequence[Cell], grid: Grid, measure: Measure, on_step: OnStep, clock: Clock = perf_counter
    ) -> None:
        self._target = cells[0].target
        self._prompts = [prompt for cell in cells for prompt in cell.prompts]
        self._words = vocabulary(self._prompts)
        self._grid = grid
        self._measure = measure
        self._on_step = on_step
        self._clock = clock
        self._chars_per_token = CHARS_PER_TOKEN
        context = cells[0].facts.context_tokens
        too_long = tuple(n for n in grid.lengths if context is not None and n + grid.output_tokens >= context)
        self.swept = Swept(cells[0].facts.deployment_id, tuple(cell.category for cell in cells), cells[0].slo, too_long)

    async def run(self, deadline_s: float) -> Swept:
        """Sweeps until `deadline_s` on the event loop's clock, and fits the latency."""
        swept = self.swept
        try:
            async with asyncio.timeout_at(deadline_s):
                for length in self._grid.lengths:
                    if length not in swept.too_long:
                        await self._climb(length)
        except TimeoutError:
            swept.ended_early = "the time was up"
        except StoppedError as error:
            swept.ended_early = str(error)
        swept.fit = fit_sweep([one.step for one in swept.judged], time())
        return swept

    async def _climb(self, length: int) -> None:
        unloaded_s = await self._alone(length)
        if unloaded_s is None:
            why = self._excuse(self.swept.judged[-1].step)
            because = "" if why is None else f", because: {why}"
            raise StoppedError(f"no prompt of {length} tokens was answered{because}")
        judged: list[Judged] = []
        while (rate := next_rate(judged, unloaded_s, self._grid.rates)) is not None:
            step = await self._step(length, rate, unloaded_s)
            why = self._excuse(step)
            if why is not None:
                raise StoppedError(f"at {rate:.3g}/s most requests said nothing, because: {why}")
            judged.append(self._judge(step, unloaded_s))

    @staticmethod
    def _excuse(step: Step) -> str | None:
        """The most frequent excuse, if most of a step's requests have one; else `None`."""
        excuses = Counter(one.sample.excuse for one in step.sent if one.sample.excuse is not None)
        return str(excuses.most_common(1)[0][0]) if excuses and 2 * excuses.total() > len(step.sent) else None

    async def _alone(self, length: int) -> float | None:
        """The median seconds of one request alone, or `None`. Also learns the model's characters per token."""
        first, sent = self._made(length, 1, "warm-up"), list[Sent]()
        await self._sender(sent).closed_loop(first, 1)
        tokens = sent.pop().sample.prompt_tokens
        if tokens:
            self._chars_per_token = characters(first[0]) / tokens
        prompts, began_s = self._made(length, ALONE, "alone"), self._clock()
        await self._sender(sent).closed_loop(prompts, 1)
        step = Step(length, 0.0, ALONE, 0.0, self._clock() - began_s, tuple(sent))
        unloaded_s = figures(step, self.swept.slo).e2e_p50_s
        self._judge(step, unloaded_s or 0.0)
        return unloaded_s

    async def _step(self, length: int, rate: float, unloaded_s: float) -> Step:
        count = min(max(round(rate * self._grid.step_s), LEAST_REQUESTS), MOST_REQUESTS)
        arrivals = gamma(rate, self._grid.burstiness, count, self._grid.seed)
        prompts, sent = self._made(length, count, f"{rate:g}"), list[Sent]()
        began_s, span_s = self._clock(), arrivals[-1].at_s
        try:
            async with asyncio.timeout(PATIENCE * span_s + 2 * unloaded_s):
                await self._sender(sent).open_loop(prompts, arrivals)
        except TimeoutError:
            pass  # the step says how many are missing
        sent.sort(key=lambda one: one.sent_s)
        return Step(length, rate, count, span_s, self._clock() - began_s, tuple(sent))

    def _sender(self, sent: list[Sent]) -> Sender:
        return Sender(self._target, self._measure, sent.append, self._clock)

    def _judge(self, step: Step, unloaded_s: float) -> Judged:
        one = judge(step, figures(step, self.swept.slo), unloaded_s, self._grid.target)
        self.swept.judged.append(one)
        self._on_step(self.swept, one)
        return one

    def _made(self, length: int, count: int, name: str) -> list[Prompt]:
        """Prompts of `length` tokens, all different, and without tools, whose tokens are unknown."""
        made = islice(cycle(self._prompts), count)
        chars = round(length * self._chars_per_token)
        return [
            Prompt(
                one.category,
                resized(one, chars, self._words, f"{length}:{name}:{i}").messages,
                self._grid.output_tokens,
            )
            for i, one in enumerate(made)
        ]
