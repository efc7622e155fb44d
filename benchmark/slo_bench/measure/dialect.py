"""Learns from refusals which form of a request a server accepts. Pure.

If a server refuses a request with HTTP 400 or 422 and names a field, the request is sent again, once for each change:

    max_tokens, max_completion_tokens     under the other name: OpenAI's reasoning models take the second, others the
                                          first
    an optional field                     without it: stream_options, the temperature of a suite; with drop_params all
                                          settings of the deployment

If hidden reasoning used up `max_tokens`, the request is sent again once, with `ROOM` times as many.

`Adapting` keeps the accepted form for the rest of the run. Refused tries are in no figure: the last answer counts, or
the first refusal if no change helped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from slo_bench.measure.stream import REASONING_ONLY, Sample
from slo_bench.measure.targets import Measure, Target
from slo_bench.measure.wire import LENGTH_NAMES
from slo_bench.prompts.workload import Prompt

ROOM = 8  # times; several hundred tokens of reasoning before an answer of a hundred are common
MOST_TOKENS = 8_192  # of an answer with more room; longer reasoning would only cost more
_READ_STATUSES = frozenset({400, 422})


class Dialect(NamedTuple):
    """How the accepted form of a request differs from the plain one."""

    swapped: bool = False  # the other name of the length limit is used
    without: frozenset[str] = frozenset()
    room: int = 1  # times `max_tokens`

    def target(self, target: Target) -> Target:
        """The target with this form."""
        name = _other(target.length_name) if self.swapped else target.length_name
        return replace(target, length_name=name, without=target.without | self.without)

    def prompt(self, prompt: Prompt, most_tokens: int | None) -> Prompt:
        """The prompt with its room. `most_tokens` is the model's longest answer, if known."""
        if self.room == 1:
            return prompt
        widest = min(prompt.max_tokens * self.room, MOST_TOKENS, most_tokens or MOST_TOKENS)
        return replace(prompt, max_tokens=max(prompt.max_tokens, widest))

    def differences(self, target: Target) -> Iterator[str]:
        """The differences in words, for the report."""
        if self.swapped:
            yield f"{target.length_name} is refused: asked with {_other(target.length_name)}"
        for name in sorted(self.without):
            yield f"{name} is refused: asked without"
        if self.room > 1:
            yield f"reasoning used up max_tokens: asked with {self.room} times as many, {MOST_TOKENS:,} at most"


PLAIN = Dialect()


def is_refused(sample: Sample) -> bool:
    """Whether the server refused the form of the request."""
    return sample.excuse is not None and sample.excuse.kind == "refused" and sample.excuse.status in _READ_STATUSES


def next_dialect(spoken: Dialect, target: Target, sample: Sample) -> Dialect | None:
    """The form to try next, after a request in the form `spoken` gave `sample`; `None` if there is none."""
    if sample.error == REASONING_ONLY:
        return spoken._replace(room=ROOM) if spoken.room == 1 else None
    if sample.excuse is None or not is_refused(sample):
        return None
    words = sample.excuse.words
    if not spoken.swapped and _names(words, target.length_name):
        return spoken._replace(swapped=True)
    named = [name for name in sorted(target.optional - spoken.without) if _names(words, name)]
    return spoken._replace(without=spoken.without | set(named)) if named else None


def _names(words: str, field: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(field)}(?!\w)", words) is not None


def _other(length_name: str) -> str:
    return LENGTH_NAMES[length_name == LENGTH_NAMES[0]]


class Adapting:
    """The accepted forms of one run, by deployment."""

    def __init__(self) -> None:
        self._known: dict[str, Dialect] = {}
        self._useless: dict[str, set[Dialect]] = {}
        self._notes: dict[str, list[str]] = {}

    @property
    def notes(self) -> Mapping[str, list[str]]:
        """How requests differed from the workload, by deployment."""
        return self._notes

    async def measure(self, send: Measure, target: Target, prompt: Prompt, most_tokens: int | None) -> Sample:
        """Sends a request in the form that the deployment accepts. Raises what `send` raises."""
        name = target.deployment_id
        spoken = known = self._known.get(name, PLAIN)
        first = sample = await send(spoken.target(target), spoken.prompt(prompt, most_tokens))
        while (other := self._next(spoken, target, sample)) is not None:
            if other.room > spoken.room and other.prompt(prompt, most_tokens) == prompt:
                break  # `max_tokens` cannot be larger
            spoken = other
            sample = await send(spoken.target(target), spoken.prompt(prompt, most_tokens))
        if spoken == known:
            return sample
        if is_refused(sample):
            self._useless.setdefault(name, set()).add(spoken)
            return first
        if sample.error in {None, REASONING_ONLY}:  # another failure does not show whether the form is accepted
            self._learn(target, spoken)
        return sample

    def note(self, deployment_id: str, what: str) -> None:
        """Adds a remark on a deployment for the report."""
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
