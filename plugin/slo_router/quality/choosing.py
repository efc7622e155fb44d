"""Which comparison is worth its money: one that could change a decision.

A deployment matters in a category if it is no dearer than the cheapest one that passes the floor now. If its bound
crosses the floor, another deployment is chosen. For each deployment that matters, the chance of that is worked out.

    after k more comparisons   the mean moves by a normal step of variance (now² − then²), the deviation is `then`
    crosses                    the bound, mean − z × then, lies on the other side of the floor
    is right                   a rise to the floor with the bound's confidence, a fall just below it with 1 − that
    worth                      the product of both chances ÷ k, the highest over several k: one comparison alone hardly
                               ever crosses

A comparison may tell of every deployment in its net, so its worths for each are added up. A category counts by how
often it is asked. A request is not compared if its best comparison is worth less than `NEAR` of the best of all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from itertools import combinations
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from slo_router.quality.comparing import MOST_AT_ONCE, Level, Net, Outcomes, Pair, variance_of_one
from slo_router.quality.evidence import Cell

AHEAD = (30, 100, 300, 1_000)  # comparisons
NEAR = 0.1
LEAST = 1e-6  # chance per comparison: less is nothing
_NORMAL = NormalDist()


class Standing(NamedTuple):
    """A deployment in a category: what is believed of it, its bound, and what is believed of it without comparisons.

    `bound` and `anchor` are `None` where nothing is known.
    """

    now: Level
    bound: float | None
    anchor: Level | None


class Demand(NamedTuple):
    """What is asked of a category: at least this quality, with this confidence; by which share of the requests.

    `served` are the deployments that answer: a comparison needs one of them.
    """

    floor: float
    confidence: float
    share: float
    served: frozenset[str]


def those_that_matter(
    category: str, usd: Mapping[str, float], standings: Mapping[Cell, Standing], floor: float
) -> list[str]:
    """The deployments no dearer than the cheapest that passes; else all. `usd` is what a request costs on each."""
    found: list[str] = []
    for name in sorted(usd, key=lambda name: usd[name]):
        found.append(name)
        bound = standings[name, category].bound
        if bound is not None and bound >= floor:
            break
    return found


def weighing(
    usd: Mapping[str, Mapping[str, float]],
    standings: Mapping[Cell, Standing],
    demands: Mapping[str, Demand],
    seen: Mapping[Pair, Outcomes],
) -> Generator[None, None, dict[Pair, float]]:
    """By pair, in the order of the names, and category: what one more comparison of them is worth.

    The worth is the chance that a decision changes × the share of the requests. Pairs that are worth nothing are left
    out. `usd` is, by category, what a request costs on each deployment. Yields between steps.
    """
    found: dict[Pair, float] = {}
    anchors = {cell: one.anchor for cell, one in standings.items() if one.anchor is not None}
    for category, asked in demands.items():
        names = [name for name in usd[category] if (name, category) in standings]
        matter = those_that_matter(category, {name: usd[category][name] for name in names}, standings, asked.floor)
        known = sorted(
            names, key=lambda name: anchors[name, category].deviation if (name, category) in anchors else 1.0
        )
        within = [*matter[:MOST_AT_ONCE], *known]
        rows = [row for row in seen.values() if row.category == category and {row.one, row.other} <= set(names)]
        net = Net.of(category, anchors, rows, within)
        for pair in combinations(sorted(net.names), 2):
            yield
            if asked.served.isdisjoint(pair):
                continue
            of_one, chance = variance_of_one(seen.get((*pair, category))), 0.0
            for name in matter[:MOST_AT_ONCE]:
                gains = (net.gain(name, *pair, of_one / more) for more in AHEAD)
                chance += _chance(standings[name, category], gains, asked)
            if chance > LEAST:
                found[*pair, category] = chance * asked.share
    return found


def choose(served: str, category: str, worth: Mapping[Pair, float]) -> str | None:
    """Which other deployment to ask what `served` answered; `None` where other comparisons are worth far more."""
    mine: dict[str, float] = {}
    for (one, other, its), value in worth.items():
        if its == category and served in (one, other):
            mine[other if served == one else one] = value
    if not mine:
        return None
    partner = max(mine, key=lambda name: mine[name])
    return partner if mine[partner] >= NEAR * max(worth.values()) else None


def _chance(own: Standing, gains: Iterable[float], asked: Demand) -> float:
    """The chance per comparison that a bound rightly crosses the floor; `gains` in precision, for each of AHEAD."""
    z = _NORMAL.inv_cdf(asked.confidence)
    before, now = own.bound is not None and own.bound >= asked.floor, own.now.deviation**2
    best = 0.0
    for more, gain in zip(AHEAD, gains, strict=True):
        then = now / (1 + max(gain, 0.0) * now)
        step = sqrt(max(now - then, 1e-12))
        passes = 1 - _NORMAL.cdf((asked.floor + z * sqrt(then) - own.now.mean) / step)
        right = (1 - asked.confidence) * (1 - passes) if before else asked.confidence * passes
        best = max(best, right / more)
    return best
