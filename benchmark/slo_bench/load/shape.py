"""Makes an open loop from the command's options, and the plan for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slo_bench.errors import BenchError
from slo_bench.load.arrivals import Arrival, gamma, replay
from slo_bench.load.plan import Plan
from slo_bench.load.trace import load_trace
from slo_bench.prompts.sizing import CHARS_PER_TOKEN, resized, vocabulary
from slo_bench.prompts.workload import Prompt


@dataclass(frozen=True, slots=True)
class Shape:
    """The load that the user asked for. It is a closed loop if neither `rate_per_s` nor `trace` is given."""

    rate_per_s: float | None = None
    burstiness: float = 1.0
    trace: Path | None = None
    speed: float = 1.0

    def arrivals(self, count: int, seed: int) -> tuple[Arrival, ...] | None:
        """The arrivals of `count` requests, or fewer if the trace is shorter; `None` for a closed loop.

        Raises BenchError for contradicting options or a bad trace.
        """
        if self.rate_per_s is not None and self.trace is not None:
            raise BenchError("--rate and --trace: both given, expected one of them")
        if self.trace is not None:
            return replay(load_trace(self.trace, count), self.speed, count)
        return None if self.rate_per_s is None else gamma(self.rate_per_s, self.burstiness, count, seed)


def shaped(plan: Plan, arrivals: tuple[Arrival, ...] | None) -> Plan:
    """The plan with one prompt for each arrival, of the arrival's size where it has one."""
    if arrivals is None:
        return plan
    words = vocabulary(prompt for cell in plan.cells for prompt in cell.prompts)
    cells = []
    for cell in plan.cells:
        pairs = zip(cell.prompts, arrivals, strict=False)  # the trace may be shorter
        prompts = tuple(_sized(prompt, one, words, f"{cell.category}:{i}") for i, (prompt, one) in enumerate(pairs))
        cells.append(replace(cell, prompts=prompts))
    return replace(plan, cells=tuple(cells))


def _sized(prompt: Prompt, arrival: Arrival, words: tuple[str, ...], seed: str) -> Prompt:
    if arrival.prompt_tokens is not None:
        prompt = resized(prompt, round(arrival.prompt_tokens * CHARS_PER_TOKEN), words, seed)
    return prompt if arrival.output_tokens is None else replace(prompt, max_tokens=arrival.output_tokens)
