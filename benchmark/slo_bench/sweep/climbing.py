"""Chooses the next rate of a sweep, and decides when it is done. Pure.

Rates double from the one that keeps a single request in flight until a step is saturated. Then the sweep tries the
geometric mean of the highest good and the lowest bad rate, twice, so that the knee is known to a fifth. If a list of
rates is given, the sweep only follows that until a step is saturated. A step is saturated if

- the throughput no longer follows the rate: the requests took a quarter longer than sending them and one unloaded
  answer, or the step's time ran out;
- the queue grows without bound: in the last third of the sends more than 1.5 times as many were in flight as in the
  second third, and more by at least 4 and by 3 standard deviations of a Poisson number;
- the attainment has collapsed: fewer than half of the requests kept the SLO, or were answered at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from slo_bench.sweep.step import Figures, Step, queue_growth, stretch

MOST_STRETCH = 1.25
MOST_GROWTH, LEAST_GROWTH = 1.5, 4.0
COLLAPSED = 0.5
FACTOR = 2.0
REFINEMENTS = 2
MOST_STEPS = 12  # per length; more than 2,000 requests in flight would mean another problem


class Judged(NamedTuple):
    """A step with its figures. `saturated` tells why it is saturated, `None` if it is not."""

    step: Step
    figures: Figures
    saturated: str | None
    is_good: bool  # not saturated, and the target share of requests kept the SLO


def judge(step: Step, found: Figures, unloaded_s: float, target: float) -> Judged:
    """`unloaded_s` is the time of one answer alone; `target` the share (0..1) of requests that shall keep the SLO."""
    saturated = _saturation(step, found, unloaded_s)
    return Judged(step, found, saturated, saturated is None and found.attained >= target)


def next_rate(judged: Sequence[Judged], unloaded_s: float, given: Sequence[float] = ()) -> float | None:
    """The rate of the next step of one length, in requests per second; `None` where it is done."""
    if len(judged) >= MOST_STEPS:
        return None
    tried = [one.step.asked_per_s for one in judged]
    if given:
        if any(one.saturated for one in judged):
            return None
        return min((rate for rate in given if rate not in tried), default=None)
    if not any(one.saturated for one in judged):
        return max(tried) * FACTOR if tried else 1 / max(unloaded_s, 1e-3)
    first = next(i for i, one in enumerate(judged) if one.saturated)
    bad = min(one.step.asked_per_s for one in judged if not one.is_good)
    good = max((one.step.asked_per_s for one in judged if one.is_good and one.step.asked_per_s < bad), default=None)
    if good is None or len(judged) - 1 - first >= REFINEMENTS:
        return None
    return math.sqrt(good * bad)


def knee(judged: Sequence[Judged]) -> Judged | None:
    """The step of the highest rate up to which all steps were good; `None` where there is none."""
    found = None
    for one in sorted(judged, key=lambda one: one.step.asked_per_s):
        if not one.is_good:
            break
        found = one
    return found


def _saturation(step: Step, found: Figures, unloaded_s: float) -> str | None:
    if step.asked_per_s == 0:
        return None  # one at a time: nothing could queue
    if found.attained < COLLAPSED:
        return f"only {found.attained:.0%} kept the SLO"
    longer = stretch(step, unloaded_s)
    if longer > MOST_STRETCH:
        return f"served {found.served_per_s:.3g}/s of {found.offered_per_s:.3g}/s"
    before, after = queue_growth(step.sent)
    if after > MOST_GROWTH * before and after - before > max(LEAST_GROWTH, 3 * math.sqrt(before)):
        return f"the queue grew from {before:.0f} to {after:.0f}"
    return None
