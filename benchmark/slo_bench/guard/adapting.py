"""Finds out how each deployment wants to be asked, and asks it so for the rest of the run.

Requests that only showed what a server refuses are in no figure: what is handed on is the answer to the last one. Where
nothing helped it is the first refusal, and the same is not tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from slo_bench.load.workload import Prompt
from slo_bench.measure.dialect import PLAIN, Dialect, is_refused, next_dialect
from slo_bench.measure.stream import REASONING_ONLY, Sample
from slo_bench.measure.targets import Target

Send = Callable[[Target, Prompt], Awaitable[Sample]]


class Adapting:
    """Of one run."""

    def __init__(self) -> None:
        self._known: dict[str, Dialect] = {}
        self._useless: dict[str, set[Dialect]] = {}
        self._notes: dict[str, list[str]] = {}

    @property
    def notes(self) -> Mapping[str, list[str]]:
        """How deployments were asked otherwise than the workload says, by deployment."""
        return self._notes

    async def measure(self, send: Send, target: Target, prompt: Prompt, most_tokens: int | None) -> Sample:
        """Sends a request as the deployment takes it. Raises what `send` does."""
        name = target.deployment_id
        spoken = known = self._known.get(name, PLAIN)
        first = sample = await send(spoken.target(target), spoken.prompt(prompt, most_tokens))
        while (other := self._next(spoken, target, sample)) is not None:
            if other.room > spoken.room and other.prompt(prompt, most_tokens) == prompt:
                break  # there is no room to give
            spoken = other
            sample = await send(spoken.target(target), spoken.prompt(prompt, most_tokens))
        if spoken == known:
            return sample
        if is_refused(sample):
            self._useless.setdefault(name, set()).add(spoken)
            return first
        if sample.error in {None, REASONING_ONLY}:  # another failure shows neither
            self._learn(target, spoken)
        return sample

    def note(self, deployment_id: str, what: str) -> None:
        """Something to say of a deployment in the report."""
        notes = self._notes.setdefault(deployment_id, [])
        if what not in notes:
            notes.append(what)

    def _next(self, spoken: Dialect, target: Target, sample: Sample) -> Dialect | None:
        now = next_dialect(spoken, spoken.target(target), sample)
        return None if now in self._useless.get(target.deployment_id, ()) else now

    def _learn(self, target: Target, spoken: Dialect) -> None:
        self._known[target.deployment_id] = spoken
        for difference in spoken.differences(target):
            self.note(target.deployment_id, difference)
