"""Makes the lines of a workload file from entries: reads, samples and scrubs them, and counts what it did."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from slo_bench.sampling.candidate import Candidate, LeftOut
from slo_bench.sampling.rules import Finder
from slo_bench.sampling.scrub import scrub
from slo_bench.sampling.strata import Share, StratifiedSample


@dataclass(frozen=True, slots=True)
class Extract:
    """The workload's lines, and counts of the requests behind them. `replaced` counts placeholders by kind."""

    lines: tuple[str, ...]
    shares: tuple[Share, ...]
    left_out: Counter[LeftOut]
    replaced: Counter[str]
    prompts_changed: int

    @property
    def entries(self) -> int:
        """The number of entries read."""
        return sum(share.seen for share in self.shares) + self.left_out.total()


@dataclass(slots=True)
class Extraction:
    """One pass: `read` takes the entries of a source, `finish` draws. `max_tokens` bounds each answer."""

    per_category: int
    floor: int
    seed: int
    max_tokens: int
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    _sample: StratifiedSample = field(init=False)

    def __post_init__(self) -> None:
        self._sample = StratifiedSample(self.per_category, self.floor, random.Random(self.seed))  # noqa: S311  # no secret

    def read(self, entries: Iterable[bytes], read_entry: Callable[[bytes], Candidate | LeftOut]) -> int:
        """Reads all entries of one source, and returns their number."""
        count = 0
        for entry in entries:
            count += 1
            outcome = read_entry(entry)
            if isinstance(outcome, LeftOut):
                self.left_out[outcome] += 1
            elif not self._sample.offer(outcome):
                self.left_out[LeftOut.TOO_MANY] += 1
        return count

    def finish(self, finders: Sequence[Finder]) -> Extract:
        """Draws the sample and scrubs it. Raises SampleError for a faulty finder."""
        drawn, shares = self._sample.draw()
        replaced: Counter[str] = Counter()
        lines: list[str] = []
        changed = 0
        for candidate in drawn:
            try:
                clean, counts = scrub(candidate, finders)
                lines.append(self._line(clean))
            except RecursionError:  # nested hundreds deep; what can't be scrubbed is not stored
                self.left_out[LeftOut.MALFORMED] += 1
                continue
            replaced += counts
            changed += bool(counts)
        return Extract(tuple(lines), tuple(shares), self.left_out, replaced, changed)

    def _line(self, candidate: Candidate) -> str:
        """One prompt as a workload's line. Its `max_tokens` is the request's own, else the length of its answer."""
        allowed = candidate.max_tokens or candidate.completion_tokens or self.max_tokens
        prompt: dict[str, object] = {
            "category": candidate.category,
            "max_tokens": min(allowed, self.max_tokens),
            "stream": candidate.stream,
            "messages": msgspec.to_builtins(candidate.messages),
        }
        if candidate.tools:
            prompt["tools"] = candidate.tools
        if candidate.response_format:
            prompt["response_format"] = candidate.response_format
        return json.dumps(prompt, ensure_ascii=False)
