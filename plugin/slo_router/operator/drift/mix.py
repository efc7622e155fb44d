"""Whether the mix of a group's tasks has changed: the later half of its requests beside the earlier half. Pure.

    blocks   the requests in their order, cut into 40 of about as many neighbours: 20 in each half
    z        of a category: the difference of its shares ÷ √(p(1 − p)(1/n + 1/m)), with p its share in both halves
    chance   the blocks are dealt out to the halves anew, 2,000 times. A category has changed if in at most 0.5 % of
             the deals any category has as large a |z| (Westfall and Young's maxT, so many categories raise no false
             alarm)

Neighbours are alike: a conversation or a batch job sends many requests of one task. If requests were dealt out one by
one, every burst would look like a change. So whole blocks are dealt out.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from slo_router.operator.replay.recorded import Recorded

BLOCKS = 40
MOST_MOMENTS = 4_000  # kept of a group: blocks are made of these
MOMENT_S = 0.01  # length of a moment at first; it doubles whenever there are too many
FEWEST_BLOCKS = 20  # with 10 blocks in each half, one deal in 92,000 gives the same two halves
FEWEST = 200  # requests
DEALS = 2_000
LEVEL = 0.005
LEAST_Z = 2.8  # |z| at `LEVEL` for independent requests; a smaller one needs no deals

Block = Mapping[str, int]  # requests by category


@dataclass(frozen=True, slots=True)
class Change:
    """A category whose share (0..1) differs between the halves by more than chance."""

    category: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class MixChange:
    """The change of one group's mix: its later `requests` beside about as many before them."""

    group: str
    requests: int
    changes: tuple[Change, ...]  # first the shares that grew, then the shares that shrank


class _Moments:
    """Counts requests by moment and category, in bounded memory and in any order of arrival."""

    def __init__(self) -> None:
        self._length_s = MOMENT_S
        self._counts: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add(self, at_s: float, category: str) -> None:
        self._counts[int(at_s / self._length_s)][category] += 1
        if len(self._counts) > MOST_MOMENTS:
            short, self._counts = self._counts, defaultdict(Counter)
            self._length_s *= 2
            for moment, counts in short.items():
                self._counts[moment // 2].update(counts)

    def in_order(self) -> list[Block]:
        return [self._counts[moment] for moment in sorted(self._counts)]


class Mix:
    """Counts requests by group, moment and category."""

    def __init__(self) -> None:
        self._groups: defaultdict[str, _Moments] = defaultdict(_Moments)

    def add(self, group: str, category: str, at_s: float) -> None:
        """Counts one request."""
        self._groups[group].add(at_s, category)

    def see(self, record: Recorded) -> None:
        """Counts a recorded request. A request that was not decided has no task, and is left out."""
        if record.decision is not None and record.category is not None:
            self.add(record.model_group or "", record.category, record.ts)

    def changes(self) -> tuple[MixChange, ...]:
        """The change of each group whose mix has changed."""
        found = []
        for group, moments in sorted(self._groups.items()):
            blocks = even(moments.in_order())
            changed = changes(blocks)
            if changed:
                later = sum(sum(block.values()) for block in blocks[len(blocks) // 2 :])
                found.append(MixChange(group, later, changed))
        return tuple(found)


def even(small: Sequence[Block]) -> list[Block]:
    """Joins neighbours into about `BLOCKS` blocks of about as many requests."""
    least = sum(sum(block.values()) for block in small) / BLOCKS
    found: list[Block] = []
    rest: Counter[str] = Counter()
    for block in small:
        rest.update(block)
        if sum(rest.values()) >= least:
            found.append(rest)
            rest = Counter()
    return [*found, rest] if rest else found


def changes(blocks: Sequence[Block]) -> tuple[Change, ...]:
    """The categories that changed; none with too few blocks or requests."""
    whole = _sum(blocks)
    if len(blocks) < FEWEST_BLOCKS or sum(whole.values()) < FEWEST:
        return ()
    half, rng = len(blocks) // 2, random.Random(0)  # noqa: S311  # repeatable, and nothing secret
    before = _sum(blocks[:half])
    seen = _z(before, whole)
    if max(map(abs, seen.values())) < LEAST_Z:
        return ()
    by_chance = sorted(
        max(map(abs, _z(_sum(rng.sample(blocks, half)), whole).values())) for _ in range(DEALS)
    )  # fmt: skip
    limit = by_chance[-int(LEVEL * DEALS)]
    first, second = sum(before.values()), sum(whole.values()) - sum(before.values())
    found = [
        Change(name, before[name] / first, (whole[name] - before[name]) / second)
        for name, z in seen.items()
        if abs(z) > limit
    ]
    return tuple(sorted(found, key=lambda one: one.before - one.after))


def _sum(blocks: Sequence[Block]) -> Counter[str]:
    total: Counter[str] = Counter()
    for block in blocks:
        for name, count in block.items():  # takes a fifth of the time of `update`
            total[name] += count
    return total


def _z(part: Counter[str], whole: Counter[str]) -> dict[str, float]:
    """How far each category's share of a part is above that of the rest."""
    first, both = sum(part.values()), sum(whole.values())
    second = both - first
    found = {}
    for name, count in whole.items():
        share = count / both
        spread = sqrt(share * (1 - share) * (1 / first + 1 / second))
        difference = part[name] / first - (count - part[name]) / second
        found[name] = difference / spread if spread else 0.0
    return found
