"""Shares, costs and quantiles of outcomes, their spread over the repeats, and the bars. Pure.

Percentages are of all counted requests, failed ones included. Cost is per answered request, so that a failed request
does not look cheap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from evaluation.face_off.outcome import Outcome, judge
from evaluation.face_off.watch import Shut
from evaluation.face_off.world import PhaseName
from evaluation.shared.results import Aim, Spread

Repeats = Sequence[Sequence[Outcome]]  # the outcomes of each repeat of one phase
REFERENCE = {"steady": 0.98, "slowdown": 0.95, "outage": 0.92, "burst": 0.96}  # contracts to keep
LEAD = {"steady": 0.15, "slowdown": 0.15, "outage": 0.05}  # contracts to keep, above LiteLLM's best
OF_OMNISCIENT = {"mixed": 0.98, "verbose": 0.97}  # contracts to keep, of those that the omniscient router keeps
OF_PEER_COST = {"steady": 0.5, "burst": 0.5, "slowdown": 0.5, "outage": 0.5}
OF_OMNISCIENT_COST = {"mixed": 1.25, "verbose": 1.15}
USUAL_OF_OMNISCIENT_COST = 1.2
SHUT_S = 1.0
EPSILON = 1e-9  # 0.83 − 0.68 is a little less than 0.15


class Figures(NamedTuple):
    """One row of a table: shares 0..1, USD, seconds. NaN if nothing was answered."""

    kept: float
    in_time: float
    cost_usd: float
    cost_per_kept_usd: float  # all that was paid ÷ the contracts that were kept
    ttft_p50_s: float
    ttft_p99_s: float
    failed: float  # share
    answered_by: Mapping[str, float]  # shares by deployment


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """The figures of one or more repeats. Raises ValueError if there is no outcome."""
    if not outcomes:
        raise ValueError("no requests were counted: expected a higher rate or more seconds")
    verdicts = [judge(outcome) for outcome in outcomes]
    costs = [verdict.cost_usd for verdict in verdicts if verdict.cost_usd is not None]
    ttfts = sorted(outcome.ttft_s for outcome in outcomes if outcome.ttft_s is not None)
    answers = Counter(
        o.deployment for o, verdict in zip(outcomes, verdicts, strict=True) if verdict.cost_usd is not None
    )
    total, kept = len(outcomes), sum(verdict.kept for verdict in verdicts)
    return Figures(
        kept=kept / total,
        in_time=sum(verdict.in_time for verdict in verdicts) / total,
        cost_usd=math.fsum(costs) / len(costs) if costs else math.nan,
        cost_per_kept_usd=math.fsum(costs) / kept if kept else math.nan,
        ttft_p50_s=quantile(ttfts, 0.50),
        ttft_p99_s=quantile(ttfts, 0.99),
        failed=(total - len(costs)) / total,
        answered_by={name or "": count / total for name, count in answers.items()},
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN if there are no values."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else math.nan


def pooled(repeats: Repeats) -> Figures:
    """The figures over the requests of all repeats."""
    return figures([outcome for outcomes in repeats for outcome in outcomes])


def spreads(repeats: Repeats) -> list[Spread]:
    """Each number of Figures in order, without `answered_by`: over all repeats, with the lowest and highest repeat."""
    each = zip(*(figures(outcomes)[:7] for outcomes in repeats), strict=True)
    return [Spread(value, min(row), max(row)) for value, row in zip(pooled(repeats)[:7], each, strict=True)]


def best_peer(peers: Mapping[str, Figures]) -> tuple[str, Figures]:
    """The peer that kept most contracts; of equals the cheaper one."""
    return max(peers.items(), key=lambda item: (item[1].kept, -item[1].cost_usd))


def bars(
    phase: PhaseName, ours: Figures, peers: Mapping[str, Figures], omniscient: Figures, shut: Sequence[Shut] = ()
) -> list[Aim]:
    """The bars for ours in this phase. Without peers, only the bars that need none."""
    found = list(_alone(phase, ours, omniscient, shut))
    if not peers:
        return found
    name, peer = best_peer(peers)
    lead, needed = ours.kept - peer.kept, LEAD.get(phase, 0.0)
    ahead, share = ours.in_time - peer.in_time, ours.cost_usd / peer.cost_usd
    found += [
        Aim(
            f"contract kept {100 * lead:+.1f} points against LiteLLM's best, {name}, at least {100 * needed:+.0f}",
            lead >= needed - EPSILON,
        ),
        Aim(f"limit on the time kept {100 * ahead:+.1f} points against {name}, never below it", ahead >= -EPSILON),
    ]
    said = f"cost per request {share:.2f} × that of {name}"
    rest = f"the omniscient router's is {omniscient.cost_usd / peer.cost_usd:.2f} ×"
    if phase in OF_PEER_COST:
        found.append(Aim(f"{said}, at most {OF_PEER_COST[phase]:g}; {rest}", share <= OF_PEER_COST[phase]))
    else:
        fewest = min(row.failed for row in peers.values())
        text = f"requests lost {ours.failed:.1%}, at most the {fewest:.1%} of LiteLLM's best; {said}, {rest}"
        found.append(Aim(text, ours.failed <= fewest + EPSILON))
    return found


def _alone(phase: PhaseName, ours: Figures, omniscient: Figures, shut: Sequence[Shut]) -> Iterator[Aim]:
    """The bars for ours that need no peer."""
    ratio = ours.cost_usd / omniscient.cost_usd
    if phase in REFERENCE:
        text = f"contract kept {ours.kept:.1%}, at least {REFERENCE[phase]:.0%}"
        yield Aim(text, ours.kept >= REFERENCE[phase] - EPSILON)
    if phase in OF_OMNISCIENT:
        part, least = ours.kept / omniscient.kept, OF_OMNISCIENT[phase]
        yield Aim(f"contract kept {part:.1%} of the omniscient router's, at least {least:.0%}", part >= least - EPSILON)
    most = OF_OMNISCIENT_COST.get(phase, USUAL_OF_OMNISCIENT_COST)
    yield Aim(f"cost per request {ratio:.2f} × the omniscient router's, at most {most:g}", ratio <= most)
    long = [one for one in shut if one.lasted_s > SHUT_S]
    named = ", ".join(f"{one.deployment} for {one.lasted_s:.1f} s" for one in long) or "none"
    yield Aim(f"deployments shut for more than {SHUT_S:g} s without a failure of their own: {named}", not long)
