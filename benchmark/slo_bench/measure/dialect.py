"""What a server takes of a request, found out from what it refuses. Pure.

A server that refuses a request with HTTP 400 or 422 and names a field of it is asked again, once for each:

    max_tokens, max_completion_tokens     the other name: OpenAI's reasoning models take the second, others the first
    an optional field                     without it: stream_options, the temperature of a suite, with drop_params all
                                          settings of the deployment

One whose hidden reasoning used up `max_tokens` is asked again with `ROOM` times as many, once.

`Adapting` keeps what a deployment took for the rest of the run. Requests that only showed what a server refuses are in
no figure: the last answer counts, or the first refusal where nothing helped.
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

ROOM = 8  # a thought of several hundred tokens before an answer of a hundred is common
MOST_TOKENS = 8_192  # that a widened answer may have: a model that still thinks would think on at everybody's cost
_READ_STATUSES = frozenset({400, 422})


class Dialect(NamedTuple):
    """How a request differs from the plain one."""

    swapped: bool = False  # its length goes by the other name
    without: frozenset[str] = frozenset()
    room: int = 1  # times `max_tokens`

    def target(self, target: Target) -> Target:
        """The target, so spoken to."""
        name = _other(target.length_name) if self.swapped else target.length_name
        return replace(target, length_name=name, without=target.without | self.without)

    def prompt(self, prompt: Prompt, most_tokens: int | None) -> Prompt:
        """The prompt with its room; `most_tokens` is the longest answer of the model, where it is known."""
        if self.room == 1:
            return prompt
        widest = min(prompt.max_tokens * self.room, MOST_TOKENS, most_tokens or MOST_TOKENS)
        return replace(prompt, max_tokens=max(prompt.max_tokens, widest))

    def differences(self, target: Target) -> Iterator[str]:
        """In words, for the report."""
        if self.swapped:
            yield f"{target.length_name} is refused: asked with {_other(target.length_name)}"
        for name in sorted(self.without):
            yield f"{name} is refused: asked without"
        if self.room > 1:
            yield f"reasoning used up max_tokens: asked with {self.room} times as many, {MOST_TOKENS:,} at most"


PLAIN = Dialect()


def is_refused(sample: Sample) -> bool:
    """The server did not like the form of the request."""
    return sample.excuse is not None and sample.excuse.kind == "refused" and sample.excuse.status in _READ_STATUSES


def next_dialect(spoken: Dialect, target: Target, sample: Sample) -> Dialect | None:
    """What to try after `sample` was the answer to a request as `spoken`; `None` where there is nothing to try."""
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
    """Of one run."""

    def __init__(self) -> None:
        self._known: dict[str, Dialect] = {}
        self._useless: dict[str, set[Dialect]] = {}
        self._notes: dict[str, list[str]] = {}

    @property
    def notes(self) -> Mapping[str, list[str]]:
        """How deployments were asked otherwise than the workload says, by deployment."""
        return self._notes

    async def measure(self, send: Measure, target: Target, prompt: Prompt, most_tokens: int | None) -> Sample:
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
