"""Summaries of the samples of one cell (a deployment in a category). `None` where nothing was measured.

- Latencies are those of successful requests. TTFT, TPOT and E2E have one value per request, ITL one per gap. `stream`
  defines them, `spreads` summarizes them.
- Error rate: failed ÷ finished requests, without those with an excuse.
- Throughput: tokens of successful requests ÷ wall time of the cell, over all streams. It is unknown if a success came
  without usage. `requests_per_s` counts successes.
- Cached tokens are part of the prompt tokens, reasoning tokens of the completion tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slo_bench.measure.excuses import Excuse
from slo_bench.measure.stream import Sample
from slo_bench.summary.attainment import Attainment, attainment
from slo_bench.summary.spreads import Spread, grouped_spread, spread
from slo_router.contract.intervals import Interval, wilson
from slo_router.contract.model import Slo


@dataclass(frozen=True, slots=True)
class CellStats:
    """The summary of a cell's samples."""

    requests: int  # finished ones
    errors: Mapping[str, int]  # by class
    ttft: Spread | None
    tpot: Spread | None
    itl: Spread | None
    e2e: Spread | None
    prompt_tokens: int | None  # of all successes; so are the other token counts
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    attainment: Attainment | None
    wall_s: float
    inconclusive: Mapping[str, int] = field(default_factory=dict)  # failures with an excuse, by class
    excuse: Excuse | None = None  # the most frequent excuse
    hidden_tokens: int | None = None  # reasoning that the client does not see

    @property
    def succeeded(self) -> int:
        """The number of answered requests, which the latencies come from."""
        return self.conclusive - sum(self.errors.values())

    @property
    def conclusive(self) -> int:
        """The number of finished requests without an excuse."""
        return self.requests - sum(self.inconclusive.values())

    @property
    def error_rate(self) -> float | None:
        """Failed ÷ finished requests without inconclusive ones, 0..1; `None` where that proves nothing.

        If no request was answered, it needs more failures than inconclusive requests.
        """
        failed = sum(self.errors.values())
        told = self.succeeded > 0 or failed > self.requests - self.conclusive
        return failed / self.conclusive if told else None

    @property
    def error_rate_interval(self) -> Interval | None:
        """The 95 % interval of the error rate."""
        return None if self.error_rate is None else wilson(sum(self.errors.values()), self.conclusive)

    @property
    def output_tokens_mean(self) -> float | None:
        """Completion tokens per success."""
        return None if self.completion_tokens is None else self.completion_tokens / self.succeeded

    @property
    def hidden_tokens_mean(self) -> float | None:
        """Completion tokens per success of reasoning that the client does not see."""
        return None if self.hidden_tokens is None else self.hidden_tokens / self.succeeded

    @property
    def prompt_tokens_mean(self) -> float | None:
        """Prompt tokens per success."""
        return None if self.prompt_tokens is None else self.prompt_tokens / self.succeeded

    @property
    def requests_per_s(self) -> float | None:
        """Successes per second of the cell."""
        return _rate(self.succeeded, self.wall_s)

    @property
    def goodput_rps(self) -> float | None:
        """Requests per second that met the SLO."""
        return None if self.attainment is None else _rate(self.attainment.met, self.wall_s)

    @property
    def prompt_tps(self) -> float | None:
        """Prompt tokens per second of the cell."""
        return _rate(self.prompt_tokens, self.wall_s)

    @property
    def throughput_tps(self) -> float | None:
        """Completion tokens per second of the cell."""
        return _rate(self.completion_tokens, self.wall_s)

    @property
    def total_tps(self) -> float | None:
        """Prompt and completion tokens per second of the cell."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return _rate(self.prompt_tokens + self.completion_tokens, self.wall_s)


def summarize(samples: Sequence[Sample], wall_s: float, slo: Slo | None = None) -> CellStats:
    """Summarizes a cell. `wall_s` is the time from its first send to its last answer. `slo` is its group's."""
    successes = [sample for sample in samples if sample.error is None]
    judged = [sample for sample in samples if sample.excuse is None]
    excused = [sample for sample in samples if sample.excuse is not None]
    excuses = Counter(sample.excuse for sample in excused if sample.excuse is not None)
    return CellStats(
        requests=len(samples),
        errors=_classes(judged),
        ttft=spread(sample.ttft_s for sample in successes),
        tpot=spread(sample.tpot_s for sample in successes),
        itl=grouped_spread(sample.itl_s for sample in successes),
        e2e=spread(sample.e2e_s for sample in successes),
        prompt_tokens=_sum([sample.prompt_tokens for sample in successes]),
        completion_tokens=_sum([sample.completion_tokens for sample in successes]),
        cached_tokens=_sum([sample.cached_tokens for sample in successes]),
        reasoning_tokens=_sum([sample.reasoning_tokens for sample in successes]),
        attainment=None if slo is None else attainment(judged, slo),
        wall_s=wall_s,
        inconclusive=_classes(excused),
        excuse=excuses.most_common(1)[0][0] if excuses else None,
        hidden_tokens=_sum([None if one.reasoning_tokens is None else one.hidden_tokens for one in successes]),
    )


def _classes(samples: Sequence[Sample]) -> dict[str, int]:
    return dict(sorted(Counter(sample.error for sample in samples if sample.error is not None).items()))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _rate(count: int | None, wall_s: float) -> float | None:
    return count / wall_s if count is not None and wall_s > 0 else None
