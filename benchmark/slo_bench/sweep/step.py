"""One step of a sweep: one prompt length at one rate. Pure.

    offered    requests sent ÷ time of the last send
    served     requests answered ÷ time until the last answer
    stretch    time until the last answer ÷ (time of the last send + one unloaded answer): 1 where the server follows
    attained   the share of requests that kept the SLO, errors and unanswered ones included
    goodput    offered × attained: requests per second that kept it

A request keeps the SLO if it keeps each latency limit. An unmeasured latency breaks no limit. For a group without
latency limits only failures count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from slo_bench.load.sending import Sent
from slo_bench.summary.attainment import meets
from slo_bench.summary.lag import Lag, lag_of
from slo_bench.summary.percentiles import percentile
from slo_router.contract.model import Slo


class Step(NamedTuple):
    """The requests of one step. `length` is in tokens. `asked_per_s` is the rate, 0 for one request at a time."""

    length: int
    asked_per_s: float
    planned: int  # requests; those not in `sent` were cancelled, for the step's time was up
    span_s: float  # time of the last send
    wall_s: float
    sent: tuple[Sent, ...]  # in the order of sending


class Figures(NamedTuple):
    """The figures of a step. Latencies are seconds, `None` where nothing was answered."""

    offered_per_s: float
    served_per_s: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    tpot_p50_s: float | None
    e2e_p50_s: float | None
    in_flight: float  # mean at send, the request itself not counted
    prompt_tokens: float | None  # mean, by the servers' own count
    errors: int
    attained: float
    goodput_per_s: float
    lag: Lag | None


def figures(step: Step, slo: Slo) -> Figures:
    """The step's figures, judged by an SLO."""
    good = [one.sample for one in step.sent if one.sample.error is None]
    tokens = [sample.prompt_tokens for sample in good if sample.prompt_tokens is not None]
    offered = step.planned / step.span_s if step.span_s > 0 else step.planned / max(step.wall_s, 1e-9)
    attained = sum(meets(sample, slo) is not False for sample in good) / step.planned
    return Figures(
        offered_per_s=offered,
        served_per_s=len(good) / max(step.wall_s, 1e-9),
        ttft_p50_s=_percentile((sample.ttft_s for sample in good), 0.5),
        ttft_p95_s=_percentile((sample.ttft_s for sample in good), 0.95),
        tpot_p50_s=_percentile((sample.tpot_s for sample in good), 0.5),
        e2e_p50_s=_percentile((sample.e2e_s for sample in good), 0.5),
        in_flight=fmean([one.in_flight for one in step.sent]) if step.sent else math.nan,
        prompt_tokens=fmean(tokens) if tokens else None,
        errors=step.planned - len(good),
        attained=attained,
        goodput_per_s=offered * attained,
        lag=lag_of(one.lag_s for one in step.sent),
    )


def stretch(step: Step, unloaded_s: float) -> float:
    """The stretch as defined in the module; infinite if requests were cancelled."""
    return step.wall_s / (step.span_s + unloaded_s) if len(step.sent) == step.planned else math.inf


def queue_growth(sent: Sequence[Sent]) -> tuple[float, float]:
    """The mean number in flight over the second and over the last third of the sends. In the first the server fills."""
    loads = [one.in_flight for one in sorted(sent, key=lambda one: one.sent_s)]
    third = max(len(loads) // 3, 1)
    return fmean(loads[third : 2 * third] or [0]), fmean(loads[-third:] or [0])


def _percentile(values: Iterable[float | None], share: float) -> float | None:
    known = sorted(value for value in values if value is not None)
    return percentile(known, share) if known else None
