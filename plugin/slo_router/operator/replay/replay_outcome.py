"""What a replay comes to: shares, cost, attainment and quality, each with how far the log can tell.

A request that moves is judged by the requests that its new deployment answered. Where those are fewer than `ENOUGH`, or
nothing was expected of it, the log cannot tell what would have become of its SLO: it is counted as untold, and left out
of the attainment.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from slo_router.contract.intervals import Z95, Interval, ratio
from slo_router.contract.model import Snapshot
from slo_router.decision.known import ENOUGH_ANSWERS
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
    """Over the requests of which both costs are known. Changes are shares of what was recorded."""

    recorded_usd: float | None
    new_usd: float | None
    change: float | None
    change_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The replay's figures. Pairs are as recorded and new."""

    counts: Counts
    shares: Mapping[str, tuple[float, float]]
    cost: Cost
    attained_before: float | None
    attainment: Attainment
    quality: tuple[float | None, float | None]
    quality_interval: Interval | None
    quality_measured_share: float | None  # of the picks' quality rests on judged answers; the rest is the YAML's word

    def as_json(self) -> dict[str, object]:
        """JSON values."""
        return asdict(self)


def outcome_of(replay: Replay, snapshot: Snapshot) -> Outcome:
    """`snapshot` is what Redis holds now: it tells how many answers the qualities rest on."""
    replayed, sums = replay.counts.replayed or 1, replay.cost
    change, (met, judged) = ratio(sums), replay.judged_before
    old, new = (total / replay.quality_count if replay.quality_count else None for total in replay.quality)
    interval, measured_share = _quality(replay, snapshot)
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
        quality=(old, new),
        quality_interval=interval,
        quality_measured_share=measured_share,
    )


def attainment_of(replay: Replay) -> Attainment:
    """What is known, and of those that move what the log shows of such requests."""
    met, judged = (float(value) for value in replay.judged)
    untold, doubts = 0, defaultdict[str, float](float)
    for (name, limits), waiting in replay.waiting.items():
        hits, trials = (0, 0) if limits is None else replay.punctuality[name].kept(limits)
        if trials < ENOUGH:
            untold += waiting
            continue
        share = (hits + 1) / (trials + 2)  # else 20 of 20 would leave no doubt
        met, judged = met + waiting * hits / trials, judged + waiting
        doubts[name] += waiting * math.sqrt(share * (1 - share) / trials)  # they rest on the same requests
    evidence = sum(doubt**2 for doubt in doubts.values())
    if not judged:
        return Attainment(None, None, 0, untold)
    share = met / judged
    half = Z95 * math.sqrt(share * (1 - share) / judged + evidence / judged**2)
    return Attainment(share, Interval(max(share - half, 0.0), min(share + half, 1.0)), round(judged), untold)


def _quality(replay: Replay, snapshot: Snapshot) -> tuple[Interval | None, float | None]:
    variance, measured, whole = 0.0, 0, sum(replay.picks.values())
    for (name, category), count in replay.picks.items():
        metrics = snapshot.measured.get(name, {}).get(category)
        if metrics is None or metrics.quality_score is None or (metrics.quality_n or 0) < ENOUGH_ANSWERS:
            continue
        measured += count
        share = (metrics.quality_score * (metrics.quality_n or 0) + 1) / ((metrics.quality_n or 0) + 2)
        variance += (count / whole) ** 2 * share * (1 - share) / (metrics.quality_n or 1)
    if not measured or not replay.quality_count:
        return None, None
    mean, half = replay.quality[1] / replay.quality_count, Z95 * math.sqrt(variance)
    return Interval(max(mean - half, 0.0), min(mean + half, 1.0)), measured / whole
