"""Adds all rows up. The sums fit into memory, however many rows there were.

A *stratum* has requests that a router cannot tell apart: of one group, served by one deployment, of one task, with
prompts of about one length. Prices are linear within it: its edges are the powers of two and every length at which
some price or context window changes. So sums of tokens tell exactly what its requests would have cost elsewhere.

Each stratum's sums are kept three times: by key, by day, and by *share*. Whole sessions are dealt out to SHARES shares,
for the interval. Requests of a session or a day are alike, so they are drawn together or not at all.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

from slo_router.contract.ages import DAY_S
from slo_router.operator.estimate.reading.rows import Row

SHARES = 256
MOST_KEYS = 10_000  # further keys count as `OTHERS`
OTHERS = "(other keys)"
_EDGES = (
    *(1 << power for power in range(5, 22)),
    *(32_000, 100_000, 128_000, 200_000, 256_000, 272_000, 512_000, 1_000_000),
)


class Stratum(NamedTuple):
    """Requests that a router cannot tell apart."""

    group: str
    served: str  # the deployment's id, or its model
    task: str
    size: int  # place of the prompt's length among the edges
    has_media: bool


class Sums(NamedTuple):
    """Sums over requests. Tokens are as billed; `answer_squares` sums the square of each answer's tokens."""

    requests: int = 0
    prompt: int = 0
    answer: int = 0
    cached: int = 0
    usd: float = 0.0
    answer_squares: int = 0


class Left(NamedTuple):
    """Requests that are in no comparison, and what was paid for them."""

    requests: int
    usd: float


class _Cells:
    """One stratum's sums, in the order of `Sums`: by key, by day and by share."""

    __slots__ = ("days", "keys", "shares")

    def __init__(self) -> None:
        self.keys: dict[str, list[float]] = {}
        self.days: dict[int, list[float]] = {}
        self.shares: dict[int, list[float]] = {}


class Totals:
    """Takes one row after another."""

    def __init__(self, more_edges: Iterable[int] = ()) -> None:
        self._edges = sorted({*_EDGES, *more_edges})
        self._cells: dict[tuple[str, str, str, int, bool], _Cells] = {}
        self._left: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0])
        self._without_price: defaultdict[str, int] = defaultdict(int)
        self._keys: set[str] = set()
        self.models: dict[str, str] = {}  # by `served`
        self.rows = 0
        self.first_s, self.last_s = math.inf, -math.inf  # Unix seconds

    def add(self, row: Row) -> None:
        """Counts one row."""
        at_s, fate, group, served, model, key, task, session, prompt, answer, cached, usd, has_media = row
        self.rows += 1
        self.first_s = min(self.first_s, at_s)
        self.last_s = max(self.last_s, at_s)
        if fate != "served":
            left = self._left[fate]
            left[0] += 1
            left[1] += usd or 0.0
            return
        self.models[served] = model
        if usd is None or usd <= 0.0:
            self._without_price[served] += 1
            return
        stratum = (group, served, task, bisect_left(self._edges, prompt), has_media)
        cells = self._cells.get(stratum)
        if cells is None:
            cells = self._cells[stratum] = _Cells()
        share = crc32((session or f"{self.rows}").encode()) % SHARES
        terms = (1, prompt, answer, cached, usd, answer * answer)
        _count(cells.keys, self._kept(key), terms)
        _count(cells.days, int(at_s // DAY_S), terms)
        _count(cells.shares, share, terms)

    def _kept(self, key: str) -> str:
        if key not in self._keys:
            if len(self._keys) >= MOST_KEYS:
                return OTHERS
            self._keys.add(key)
        return key

    @property
    def left(self) -> dict[str, Left]:
        """Requests that were not served, by what became of them."""
        return {fate: Left(int(count), usd) for fate, (count, usd) in self._left.items()}

    @property
    def without_price(self) -> dict[str, int]:
        """The number of requests that were booked at nothing, by `served`."""
        return dict(self._without_price)

    def strata(self) -> dict[Stratum, Sums]:
        """Each stratum's sums."""
        return {
            Stratum(*stratum): _sums(map(sum, zip(*cells.days.values(), strict=True)))
            for stratum, cells in self._cells.items()
        }

    def by_key(self) -> Iterator[tuple[Stratum, str, Sums]]:
        """Each stratum's sums by key."""
        for stratum, cells in self._cells.items():
            yield from ((Stratum(*stratum), key, _sums(values)) for key, values in cells.keys.items())

    def by_day(self) -> Iterator[tuple[Stratum, int, Sums]]:
        """Each stratum's sums by day, counted from 1970, in UTC."""
        for stratum, cells in self._cells.items():
            yield from ((Stratum(*stratum), day, _sums(values)) for day, values in cells.days.items())

    def by_share(self) -> Iterator[tuple[Stratum, int, Sums]]:
        """Each stratum's sums by share of the sessions."""
        for stratum, cells in self._cells.items():
            yield from ((Stratum(*stratum), share, _sums(values)) for share, values in cells.shares.items())


def _count(cells: dict[Any, list[float]], place: object, terms: tuple[float, ...]) -> None:
    sums = cells.get(place)
    if sums is None:
        cells[place] = list(terms)
        return
    sums[0] += 1
    sums[1] += terms[1]
    sums[2] += terms[2]
    sums[3] += terms[3]
    sums[4] += terms[4]
    sums[5] += terms[5]


def _sums(values: Iterable[float]) -> Sums:
    requests, prompt, answer, cached, usd, squares = values
    return Sums(int(requests), int(prompt), int(answer), int(cached), usd, int(squares))
