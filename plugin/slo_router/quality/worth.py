"""What quality is worth in USD, so that a target is just kept: the price of the objective `value`. Pure.

    value of a candidate = worth × quality − cost      the pick has the highest

A worth of 0 picks the cheapest deployment, a very high worth the best. In between each request has steps. A step goes
from one deployment to a better one: it adds quality, costs money, and pays from some worth on. The steps of past
requests, in the order of their worth, are a ladder. A target is a place on the ladder.

    quality_of_best   the lowest worth at which the requests get that share of the quality of the one best model
    usd_per_day       the highest worth at which the requests cost no more than they may

Many requests may look alike and share one step. So each request has a lot, a random number, which moves its worth by up
to a tenth. Then a part of them takes the step, and a small change of costs changes that part a little.

If the one best model could not serve a request, the best one that could stands for it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import exp, log
from typing import NamedTuple

LEAST_USD, MOST_USD = 1e-9, 1e6  # worth: at LEAST_USD the cheapest is picked, at MOST_USD the best
SPREAD = 0.2  # of the worths of single requests, as a logarithm: a tenth below to a tenth above
EXACT = 1e-4  # error of a worth, as a logarithm
ROUNDING = 1e-9  # of sums of qualities


class Option(NamedTuple):
    """What one deployment would give one request."""

    deployment_id: str
    quality: float
    cost_usd: float


Options = Sequence[Option]  # of one request, not empty


class Step(NamedTuple):
    """From one deployment to the next better one that it pays to go to, at this worth."""

    worth_usd: float
    quality: float  # added
    cost_usd: float  # added


def for_request(worth_usd: float, lot: float) -> float:
    """The worth for a request with this lot, from 0 to below 1."""
    return worth_usd * exp(SPREAD * (0.5 - lot))


def picked(options: Options, worth_usd: float) -> Option:
    """The option with the highest value; of equal ones the better."""
    return max(options, key=lambda one: (worth_usd * one.quality - one.cost_usd, one.quality))


def steps(options: Options) -> Iterator[Step]:
    """The steps from the cheapest option to the best, each at a higher worth than the one before."""
    now = min(options, key=lambda one: (one.cost_usd, -one.quality))
    while better := [one for one in options if one.quality > now.quality]:
        found = [_step(now, one) for one in better]
        at = min(range(len(found)), key=lambda number: (found[number].worth_usd, -found[number].quality))
        yield found[at]
        now = better[at]


def _step(now: Option, one: Option) -> Step:
    quality, cost_usd = one.quality - now.quality, one.cost_usd - now.cost_usd
    return Step(cost_usd / quality, quality, cost_usd)


def best(requests: Sequence[Options]) -> str:
    """The id of the one best model: of the highest mean quality, and able to serve half as many requests as any."""
    sums: dict[str, tuple[float, int]] = {}
    for options in requests:
        for one in options:
            quality, count = sums.get(one.deployment_id, (0.0, 0))
            sums[one.deployment_id] = quality + one.quality, count + 1
    most = max(count for _, count in sums.values())
    often = {name: total / count for name, (total, count) in sums.items() if 2 * count >= most}
    return max(often, key=lambda name: often[name])


def quality_at(options: Options, deployment_id: str) -> float:
    """The quality of that deployment; if it could not serve the request, the quality of the best that could."""
    found = next((one.quality for one in options if one.deployment_id == deployment_id), None)
    return max(one.quality for one in options) if found is None else found


def worth_for_quality(requests: Sequence[Options], ladder: Sequence[Step], share: float) -> float:
    """The lowest worth that reaches `share`; else `MOST_USD`. `ladder`: the steps of all `requests`, by their worth."""
    name = best(requests)
    wanted = share * sum(quality_at(options, name) for options in requests)
    wanted -= sum(picked(options, 0.0).quality for options in requests)
    if wanted <= ROUNDING:
        return LEAST_USD
    if sum(step.quality for step in ladder) < wanted - ROUNDING:
        return MOST_USD
    return _where(ladder, [step.quality for step in ladder], wanted - ROUNDING)


def worth_for_spend(requests: Sequence[Options], ladder: Sequence[Step], usd_each: float) -> float:
    """The highest worth that costs no more; `LEAST_USD` if the cheapest cost more, `MOST_USD` if the best do not."""
    left_usd = usd_each * len(requests) - sum(picked(options, 0.0).cost_usd for options in requests)
    if left_usd <= 0:
        return LEAST_USD
    if sum(step.cost_usd for step in ladder) <= left_usd:
        return MOST_USD
    return _where(ladder, [step.cost_usd for step in ladder], left_usd)


def _where(ladder: Sequence[Step], amounts: Sequence[float], wanted: float) -> float:
    """The worth at which the steps that are taken add up to `wanted`, which is at most the sum of all steps."""
    heights = [log(max(step.worth_usd, LEAST_USD)) for step in ladder]
    below = list(accumulate(amounts, initial=0.0))  # of all steps before each
    low, high = heights[0] - SPREAD, heights[-1] + SPREAD
    while high - low > EXACT:
        middle = (low + high) / 2
        first, last = bisect(heights, middle - SPREAD / 2), bisect(heights, middle + SPREAD / 2)
        taken = below[first] + sum(amounts[n] * (0.5 + (middle - heights[n]) / SPREAD) for n in range(first, last))
        low, high = (middle, high) if taken < wanted else (low, middle)
    return max(exp(high), LEAST_USD)
