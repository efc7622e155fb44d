"""What part of their prompts the deployments read from a prefix cache, by the usage that they report.

    new    of prompts whose beginning a deployment is not known to have seen: it may cache what many prompts share
    soon   of the known beginnings of conversations, within CACHED_SOON_S of the last turn
    late   of the known beginnings, after that: providers drop what nobody asked for

These are sums of tokens that fade with time, of this worker and of the others. If a deployment does not report what it
read from a cache, nothing is added to them: what was assumed before holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from slo_router.contract.ages import CACHED_HALF_LIFE_S, CACHED_SOON_S
from slo_router.contract.model import EMPTY, Facts

Kind = Literal["new", "soon", "late"]
ASSUMED: Mapping[str, float] = {"new": 0.0, "soon": 1.0, "late": 1.0}  # the cached share, until usage is reported
ASSUMED_TOKENS = 2_000  # the assumed share counts as much as so many reported tokens
MOST_ENTRIES = 3_000  # of another worker's export; the rest is not read
MOST_TOKENS = 1e15
LEAST_SHARE = 0.01  # a smaller share is left out of the price


class Sums(NamedTuple):
    """Prompt tokens that could have been read from a cache, and those that were, as they weigh at `at_s` (Unix s)."""

    asked: float
    cached: float
    at_s: float

    def at(self, now_s: float) -> Sums:
        """The sums as they weigh at `now_s`."""
        weight = 0.5 ** (abs(now_s - self.at_s) / CACHED_HALF_LIFE_S)
        return Sums(self.asked * weight, self.cached * weight, now_s)


NOTHING = Sums(0.0, 0.0, 0.0)


class Caching:
    """What this worker saw, and what the others told. `new_shares` is by id of the deployments with a cached price."""

    def __init__(self) -> None:
        self.new_shares: Mapping[str, float] = EMPTY
        self._own: dict[tuple[str, str], Sums] = {}
        self._others: dict[tuple[str, str], Sums] = {}

    def see(self, name: str, kind: Kind, asked: float, cached: float, now_s: float) -> None:
        """A deployment's usage said that of `asked` tokens it read `cached` from its cache."""
        before = self._own.get((name, kind), NOTHING).at(now_s)
        self._own[name, kind] = Sums(before.asked + asked, before.cached + min(cached, asked), now_s)

    def share(self, names: Iterable[str], kind: Kind, now_s: float) -> float:
        """The part (0..1) that these deployments together are expected to read from their caches."""
        told = [sums.get((name, kind), NOTHING).at(now_s) for name in names for sums in (self._own, self._others)]
        asked, cached = sum(one.asked for one in told), sum(one.cached for one in told)
        return (cached + ASSUMED[kind] * ASSUMED_TOKENS) / (asked + ASSUMED_TOKENS)

    def fit(self, facts: Mapping[str, Facts], now_s: float) -> None:
        """Works out what new prompts find in the caches, and forgets deployments that are gone.

        All deployments of one model at the same prices have the same share. Otherwise a deployment with a warm cache
        would get all the traffic, and the others none to warm theirs.
        """
        self._own = {key: sums for key, sums in self._own.items() if key[0] in facts}
        equals: dict[tuple[object, ...], list[str]] = {}
        for name, one in facts.items() if self._own or self._others else ():
            if one.cached_usd_per_token is not None:
                prices = (one.input_usd_per_token, one.cached_usd_per_token, one.output_usd_per_token)
                equals.setdefault((one.model, *prices), []).append(name)
        shares = [(names, self.share(names, "new", now_s)) for names in equals.values()]
        self.new_shares = {name: share for names, share in shares if share >= LEAST_SHARE for name in names} or EMPTY

    def export(self, now_s: float) -> list[tuple[str, str, float, float]]:
        """What this worker saw, as JSON values."""
        sums = {key: one.at(now_s) for key, one in self._own.items()}
        return [(*key, round(one.asked), round(one.cached)) for key, one in sums.items() if one.asked >= 1]

    def hear(self, told: Iterable[object], names: Collection[str], now_s: float) -> None:
        """Takes what all other workers exported last. Ignores malformed entries."""
        others: dict[tuple[str, str], Sums] = {}
        for said in told:
            for entry in said[:MOST_ENTRIES] if isinstance(said, list) else ():
                match entry:
                    case [str(name), str(kind), int() | float() as asked, int() | float() as cached] if (
                        name in names and kind in ASSUMED and 0 <= cached <= asked <= MOST_TOKENS
                    ):
                        before = others.get((name, kind), NOTHING)
                        others[name, kind] = Sums(before.asked + asked, before.cached + cached, now_s)
        self._others = others


def kind_of(turn_at_s: float, now_s: float) -> Kind:
    """The kind of a prompt that continues a conversation whose last turn was at `turn_at_s`."""
    return "soon" if abs(now_s - turn_at_s) <= CACHED_SOON_S else "late"
