"""Selects the requests: the same number of each category, and in a category each stratum by its share of the traffic.

A stratum is category × band of prompt length × streamed or not. The strata keep their proportions, so that a category's
figures are those of the traffic. A floor of one includes rare long prompts. A larger floor would shift the means
(`python -m evaluation.agent.sample_bias`).

The number of requests is known only at the end. So every stratum keeps a reservoir that could fill its category alone:
a uniform sample of a stream of unknown length, in one pass and constant memory (Vitter's algorithm R). The first k
items fill it; item i > k replaces a random one with probability k/i.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from slo_bench.sampling.candidate import Candidate

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """Holds at most `capacity` items; `seen` counts all that were offered."""

    __slots__ = ("_capacity", "_items", "_rng", "seen")

    def __init__(self, capacity: int, rng: random.Random) -> None:
        self._capacity = capacity
        self._items: list[Item] = []
        self._rng = rng
        self.seen = 0

    def offer(self, item: Item) -> None:
        """Keeps the item or drops it."""
        self.seen += 1
        if len(self._items) < self._capacity:
            self._items.append(item)
        else:
            place = int(self._rng.random() * self.seen)
            if place < self._capacity:
                self._items[place] = item

    def draw(self, count: int) -> list[Item]:
        """`count` random items, or all if it has fewer. The draw is random, for the items' places are not."""
        return self._rng.sample(self._items, min(count, len(self._items)))

    def __len__(self) -> int:
        return len(self._items)


BAND_EDGES_TOKENS = (256, 1_024, 4_096, 16_384)
BANDS = ("<256", "256-1k", "1k-4k", "4k-16k", ">=16k")
MAX_CATEGORIES = 128  # enough for a hundred clusters; clients choose the names, and must not fill the memory


class Stratum(NamedTuple):
    """`band` indexes BANDS."""

    category: str
    band: int
    stream: bool


class Share(NamedTuple):
    """How many requests of a stratum were seen and how many were taken."""

    stratum: Stratum
    seen: int
    taken: int


def stratum_of(candidate: Candidate) -> Stratum:
    """The stratum of a request."""
    return Stratum(candidate.category, bisect_right(BAND_EDGES_TOKENS, candidate.tokens()), candidate.stream)


def allocate(seen: Mapping[Stratum, int], total: int, floor: int) -> dict[Stratum, int]:
    """How many to take of each stratum of one category: `total`, or all there are, by the method of Sainte-Laguë.

    Each stratum gets `floor` first (fewer if it has fewer, or if the floors alone exceed `total`). Each further place
    goes to the stratum with the largest seen / (2 · taken + 1).
    """
    floor = min(floor, total // max(len(seen), 1))
    taken = {stratum: min(floor, count) for stratum, count in seen.items()}
    for _ in range(min(total, sum(seen.values())) - sum(taken.values())):
        open_ones = [stratum for stratum in sorted(seen) if taken[stratum] < seen[stratum]]
        taken[max(open_ones, key=lambda stratum: seen[stratum] / (2 * taken[stratum] + 1))] += 1
    return taken


class StratifiedSample:
    """One pass over candidates. Holds at most MAX_CATEGORIES × len(BANDS) × 2 × `per_category` of them."""

    def __init__(self, per_category: int, floor: int, rng: random.Random) -> None:
        self._per_category, self._floor, self._rng = per_category, floor, rng
        self._categories: dict[str, dict[Stratum, Reservoir[Candidate]]] = {}

    def offer(self, candidate: Candidate) -> bool:
        """Counts a candidate, and keeps it or not. False: not counted, for there are too many categories."""
        strata = self._categories.get(candidate.category)
        if strata is None:
            if len(self._categories) == MAX_CATEGORIES:
                return False
            strata = self._categories[candidate.category] = {}
        stratum = stratum_of(candidate)
        reservoir = strata.get(stratum)
        if reservoir is None:
            reservoir = strata[stratum] = Reservoir(self._per_category, self._rng)
        reservoir.offer(candidate)
        return True

    def draw(self) -> tuple[list[Candidate], list[Share]]:
        """The sample, and what it was drawn from, both in the order of the strata."""
        drawn: list[Candidate] = []
        shares: list[Share] = []
        for _, strata in sorted(self._categories.items()):
            seen = {stratum: reservoir.seen for stratum, reservoir in strata.items()}
            taken = allocate(seen, self._per_category, self._floor)
            for stratum in sorted(strata):
                drawn += strata[stratum].draw(taken[stratum])
                shares.append(Share(stratum, seen[stratum], taken[stratum]))
        return drawn, shares
