"""A uniform random sample of a stream whose length nobody knows, in one pass and in constant memory.

Vitter's algorithm R: the first k items fill the reservoir; item i > k takes the place of a random one with probability
k/i. After n items each is in the sample with probability k/n, and all subsets of k items are equally likely.
"""

from __future__ import annotations

import random
from typing import Generic, TypeVar

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
        """`count` of the items, again at random, for their places are not; all of them if it has less."""
        return self._rng.sample(self._items, min(count, len(self._items)))

    def __len__(self) -> int:
        return len(self._items)
