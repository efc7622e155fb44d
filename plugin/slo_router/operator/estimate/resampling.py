"""The interval of a saved share, by the bootstrap over blocks: sessions, and days where there are enough.

Requests of a session, or of a day, are alike. So whole blocks are drawn, with replacement, and the share is computed
anew. The wider of the two intervals counts. It says how the share would differ on other traffic of this kind. What is
assumed of prices, lengths and quality is no part of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from slo_router.contract.intervals import Interval

REPLICATES = 1_000
FEWEST = 14  # blocks; fewer tell nothing
TAIL = 0.025


class Block(NamedTuple):
    """USD that were paid for requests that are drawn together, and USD that they would have cost."""

    spent_usd: float
    routed_usd: float


def saved_interval(blocks: Sequence[Block], seed: int = 0) -> Interval | None:
    """The 95 % interval of 1 − Σ routed ÷ Σ spent; `None` where nothing was spent."""
    rng, count = random.Random(seed), len(blocks)  # noqa: S311  # statistics
    found = []
    for _ in range(REPLICATES):
        drawn = rng.choices(blocks, k=count)
        spent = sum(one[0] for one in drawn)
        if spent > 0:
            found.append(1 - sum(one[1] for one in drawn) / spent)
    if not found:
        return None
    found.sort()
    return Interval(found[int(TAIL * len(found))], found[int((1 - TAIL) * (len(found) - 1))])
