"""The sums of a run, and the statistics that are computed from them.

A tally is a set of named sums, so that runs can be added. A statistic is a ratio of sums over all seeds. Its 95 %
confidence interval is the jackknife's over seeds (Efron and Stein, 1981): runs are independent, requests within a run
are not. The clairvoyant of the tight scenarios is the one that plans ahead.

    attainment   contract kept ÷ requests whose contract the clairvoyant kept in its own run, and whose client stayed
    cost         USD ÷ the clairvoyant's USD, over those of these requests that were answered
    ECE          Σ over 10 bins of P(in time): share of the bin × |mean prediction − observed share|; first attempts
    coverage     share of first attempts that were answered within their predicted p95 TTFT
    agreement    share of the compared first decisions that an observer of every request would have made alike, at once;
                 or also on what the observer knew at any time in the last two seconds
    failed       share of the requests answered in the clairvoyant's run that ended without an answer here
    waited       streams whose first token came later than LONG_S after their arrival, or never, ÷ all requests
    extra        calls beyond one for each request, as a share of the requests
    misjudged    share of first decisions that ruled out a deployment as too small, though it is by far large enough
    shut         deployments that were shut for longer than SHUT_S though they had done nothing wrong, per run
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from evaluation.simulator.engine import Run, Served
from slo_router.contract.intervals import CONFIDENCE, student

Tally = Mapping[str, float]
Statistic = Callable[[Tally], float]  # NaN if there is nothing to divide by
BINS = 10
SHUT_S = 1.0
LONG_S = 2.0


class Estimate(NamedTuple):
    """A statistic over all seeds, and half the width of its 95 % confidence interval."""

    value: float
    half_width: float


def tally(run: Run, reference: Iterable[Served], judged_from_s: float) -> Tally:
    """The sums of one run; `reference` is the clairvoyant's run on the same requests."""
    best = {entry.request.number: entry for entry in reference}
    sums: Counter[str] = Counter(seeds=1, shut=sum(shut.lasted_s > SHUT_S for shut in run.shut))
    for entry in run.served:
        sums["simulated"] += 1
        if entry.request.at_s < judged_from_s:
            continue
        bound = best[entry.request.number]
        sums["requests"] += 1
        sums["kept_of_all"] += entry.kept
        sums["calls"] += len(entry.choices)
        sums["waited"] += entry.request.ask.stream and entry.outcome != "left" and not _begins_within(entry, LONG_S)
        sums["in_time_of_all"] += entry.in_time
        sums["usd"] += entry.cost_usd  # type: ignore[assignment]  # typeshed's Counter is of int
        sums["answerable"] += bound.outcome == "success"
        sums["failed"] += bound.outcome == "success" and entry.outcome not in ("success", "left")
        _add_promise(sums, entry)
        if not bound.kept or entry.request.ask.leaves_after_s is not None:
            continue
        sums["possible"] += 1
        sums["kept"] += entry.kept
        sums["in_time"] += entry.in_time
        if entry.outcome == "success":
            sums["cost_usd"] += entry.cost_usd  # type: ignore[assignment]
            sums["lowest_usd"] += bound.cost_usd  # type: ignore[assignment]
    return dict(sums)


def _begins_within(entry: Served, seconds: float) -> bool:
    return entry.ttft_s is not None and entry.ttft_s <= seconds


def _add_promise(sums: Counter[str], entry: Served) -> None:
    first, alone = entry.choices[0], len(entry.choices) == 1
    sums["decided"] += first.agreed is not None
    sums["agreed"] += first.agreed is True
    sums["agreed_soon"] += first.agreed_soon is True
    sums["chosen"] += 1
    sums["misjudged"] += first.misjudged
    if entry.outcome == "left" or entry.request.ask.fault is not None:
        return  # no promise covers what the client itself causes
    if first.probability is not None:
        at = min(BINS - 1, int(first.probability * BINS))
        sums[f"bin{at}"] += 1
        sums[f"promised{at}"] += first.probability  # type: ignore[assignment]
        sums[f"observed{at}"] += entry.in_time and alone
    if first.ttft_p95_s is not None and alone and entry.ttft_s is not None:
        sums["answered"] += 1
        sums["covered"] += entry.ttft_s <= first.ttft_p95_s


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of several runs."""
    sums: Counter[str] = Counter()
    for one in tallies:
        sums.update(one)
    return sums


def ratio(above: str, below: str) -> Statistic:
    """One sum divided by another."""
    return lambda sums: sums.get(above, 0.0) / sums[below] if sums.get(below) else math.nan


def extra_calls(sums: Tally) -> float:
    """Retries and rescues, as a share of the requests."""
    return sums["calls"] / sums["requests"] - 1 if sums.get("requests") else math.nan


def calibration_error(sums: Tally) -> float:
    """The expected calibration error."""
    count = sum(sums.get(f"bin{i}", 0.0) for i in range(BINS))
    gaps = sum(abs(sums.get(f"promised{i}", 0.0) - sums.get(f"observed{i}", 0.0)) for i in range(BINS))
    return gaps / count if count else math.nan


attainment = ratio("kept", "possible")
kept_of_all = ratio("kept_of_all", "requests")
in_time = ratio("in_time", "possible")
in_time_of_all = ratio("in_time_of_all", "requests")
usd = ratio("usd", "requests")
failed = ratio("failed", "answerable")
waited = ratio("waited", "requests")
misjudged = ratio("misjudged", "chosen")
shut = ratio("shut", "seeds")
cost = ratio("cost_usd", "lowest_usd")
coverage = ratio("covered", "answered")
agreement = ratio("agreed", "decided")
agreement_soon = ratio("agreed_soon", "decided")


def estimate(tallies: Sequence[Tally], statistic: Statistic) -> Estimate:
    """A statistic over all runs with its interval. The interval is NaN for a single run."""
    n, value = len(tallies), statistic(total(tallies))
    if n < 2:
        return Estimate(value, math.nan)
    without = [statistic(total(tallies[:i] + tallies[i + 1 :])) for i in range(n)]  # type: ignore[operator]
    low, high = student([n * value - (n - 1) * one for one in without], CONFIDENCE)
    return Estimate(value, (high - low) / 2)
