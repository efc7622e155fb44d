"""What a place at a crowded deployment is worth to others: its shadow price, USD per second of a request's stay. Pure.

A crowded deployment turns away requests that have no other choice. Requests with another choice would leave it, each at
its own price: the extra cost of the next deployment, per second of the stay here. As the load comes near the one at
which a request was turned away, a growing share of them should leave. The price is the one at which that share leaves:
the requests that lose least leave first. Where no request was turned away lately there is no tariff. Well below that
load the price is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

LASTS_S = 60.0  # a request that was turned away counts for this long
HALF_LIFE_S = 20.0  # of the requests that would leave
FROM, TO = 0.7, 1.0  # parts of the load at which a request was turned away: from FROM on some leave, at TO all
STEP = 1.2  # factor from one price to the next
STEPS = 100  # to either side of 1 USD per second
_FADED_S = 1e-3
_NOBODY: Mapping[int, float] = MappingProxyType({})


class Scarcity(NamedTuple):
    """What one worker saw of one deployment. Times are Unix seconds."""

    load: float = math.inf  # requests in flight, the lowest at which one was turned away
    at_s: float = 0.0  # when that was
    offered_at_s: float = 0.0  # the moment to which `offered_s` has faded
    offered_s: Mapping[int, float] = _NOBODY  # by step of the price: seconds of stay of the requests that would leave


PLENTY = Scarcity()


class Tariff(NamedTuple):
    """The price for each load."""

    load: float  # at which a request was turned away
    leavers: tuple[tuple[float, float], ...]  # share that leaves, of the requests that can, and at which price; rising

    def usd_per_s(self, load: float) -> float:
        """The price at this load; 0 up to FROM of the load at which a request was turned away."""
        share = (load / self.load - FROM) / (TO - FROM)
        if share <= 0:
            return 0.0
        return next((usd_per_s for leaving, usd_per_s in self.leavers if leaving >= share), self.leavers[-1][1])


def turned_away(seen: Scarcity, load: float, now_s: float) -> Scarcity:
    """One more request was turned away, at this load."""
    return seen._replace(load=load, at_s=now_s) if load <= seen.load or is_over(seen, now_s) else seen


def is_over(seen: Scarcity, now_s: float) -> bool:
    """Whether no request was turned away lately."""
    return abs(now_s - seen.at_s) > LASTS_S


def would_leave(seen: Scarcity, usd_per_s: float, stay_s: float, now_s: float) -> Scarcity:
    """One more request would leave, at this price."""
    offered_s = {step: left_s for step, left_s in _faded(seen, now_s) if left_s > _FADED_S}
    step = math.ceil(math.log(usd_per_s, STEP)) if usd_per_s > 0 else -STEPS
    step = min(max(step, -STEPS), STEPS)
    offered_s[step] = offered_s.get(step, 0.0) + stay_s
    return seen._replace(offered_at_s=now_s, offered_s=offered_s)


def tariff(seen: Iterable[Scarcity], now_s: float) -> Tariff | None:
    """The tariff by what all workers saw; `None` where nothing is scarce, or no request could leave."""
    load, offered_s = math.inf, dict[int, float]()
    for one in seen:
        if not is_over(one, now_s):
            load = min(load, one.load)
        for step, left_s in _faded(one, now_s):
            offered_s[step] = offered_s.get(step, 0.0) + left_s
    whole_s = sum(offered_s.values())
    if not 0 < load < math.inf or whole_s <= 0:
        return None
    leavers, leaving_s = [], 0.0
    for step in sorted(offered_s):
        leaving_s += offered_s[step]
        leavers.append((leaving_s / whole_s, STEP ** (step + 0.5)))  # slightly more than they lose
    return Tariff(load, tuple(leavers))


def _faded(seen: Scarcity, now_s: float) -> list[tuple[int, float]]:
    if not seen.offered_s:
        return []
    factor = 0.5 ** (abs(now_s - seen.offered_at_s) / HALF_LIFE_S)
    return [(step, stay_s * factor) for step, stay_s in seen.offered_s.items()]
