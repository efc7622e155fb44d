"""The outcome of a replay: shares, cost, attainment and quality, each with its uncertainty.

A request that moves is judged by the requests that its new deployment answered. With fewer than `ENOUGH` of those, or
without a prediction, the log cannot tell whether the request would have kept its SLO. It is then counted as untold, and
left out of the attainment.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from slo_router.contract.intervals import Z95, Interval, ratio
from slo_router.operator.replay.replay import Counts, Replay

ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Attainment:
    """The share of requests that keep their SLO. `untold` requests are in neither number."""

    share: float | None
    interval: Interval | None
    judged: int
    untold: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Sums over the requests whose two costs are known. Changes are relative to the recorded cost."""

    recorded_usd: float | None
    new_usd: float | None
    change: float | None
    change_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The replay's figures. Pairs are (recorded, new)."""

    counts: Counts
    shares: Mapping[str, tuple[float, float]]
    cost: Cost
    attained_before: float | None
    attainment: Attainment
    quality: tuple[float | None, float | None]
    quality_bound: tuple[float | None, float | None]  # what `min_quality` is held against
    quality_interval: Interval | None
    quality_measured_share: float | None  # of picks whose quality rests on graded answers; the rest is configured

    def as_json(self) -> dict[str, object]:
        """The outcome as JSON values."""
        return asdict(self)


def outcome_of(replay: Replay) -> Outcome:
    """Computes the outcome."""
    replayed, sums = replay.counts.replayed or 1, replay.cost
    change, (met, judged) = ratio(sums), replay.judged_before
    interval, measured_share = _quality(replay)
    return Outcome(
        counts=replay.counts,
        shares={name: (old / replayed, new / replayed) for name, (old, new) in sorted(replay.shares.items())},
        cost=Cost(
            recorded_usd=sums.b if sums.pairs or not replay.counts.unpriced else None,
            new_usd=sums.c if sums.pairs or not replay.counts.unpriced else None,
            change=sums.c / sums.b - 1 if sums.b else None,
            change_interval=None if change is None else Interval(change.low - 1, change.high - 1),
        ),
        attained_before=met / judged if judged else None,
        attainment=attainment_of(replay),
        quality=_means(replay.quality, replay.quality_count),
        quality_bound=_means(replay.quality_bound, replay.quality_count),
        quality_interval=interval,
        quality_measured_share=measured_share,
    )


def attainment_of(replay: Replay) -> Attainment:
    """The attainment: known for requests that stay, estimated from similar requests for those that move."""
    met, judged = (float(value) for value in replay.judged)
    untold, doubts = 0, defaultdict[str, float](float)
    for (name, limits), waiting in replay.waiting.items():
        hits, trials = (0, 0) if limits is None else replay.punctuality[name].kept(limits)
        if trials < ENOUGH:
            untold += waiting
            continue
        share = (hits + 1) / (trials + 2)  # otherwise 20 of 20 would have no variance
        met, judged = met + waiting * hits / trials, judged + waiting
        doubts[name] += waiting * math.sqrt(share * (1 - share) / trials)  # added, for they rest on the same requests
    evidence = sum(doubt**2 for doubt in doubts.values())
    if not judged:
        return Attainment(None, None, 0, untold)
    share = met / judged
    half = Z95 * math.sqrt(share * (1 - share) / judged + evidence / judged**2)
    return Attainment(share, Interval(max(share - half, 0.0), min(share + half, 1.0)), round(judged), untold)


def _means(sums: Sequence[float], count: int) -> tuple[float | None, float | None]:
    recorded, new = (total / count if count else None for total in sums)
    return recorded, new


def _quality(replay: Replay) -> tuple[Interval | None, float | None]:
    """The quality's interval, and the share of graded picks.

    Doubts of one deployment and category add up, for its requests rest on the same answers.
    """
    if not replay.graded_picks or not replay.quality_count:
        return None, None
    half = Z95 * math.hypot(*replay.doubts.values()) / replay.counts.replayed
    mean = replay.quality[1] / replay.quality_count
    return Interval(max(mean - half, 0.0), min(mean + half, 1.0)), replay.graded_picks / replay.counts.replayed
