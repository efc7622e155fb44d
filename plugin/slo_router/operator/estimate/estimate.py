"""What `slo-router estimate` says: the values that tables, page and JSON show. Shares are 0..1; `None` is unknown."""

from __future__ import annotations

from dataclasses import dataclass, field

from slo_router.contract.intervals import Interval


@dataclass(frozen=True, slots=True)
class Saving:
    """What would have been saved if the requests of this scenario, and no others, had moved.

    `interval` tells how the share differs on other traffic of this kind. `assumed` goes from the least to the most that
    the assumptions allow. `whole` has both: from the interval's lower end at the least to its upper end at the most.
    """

    scenario: str  # "shown", "stated", "open"
    moved: int  # requests
    routed_usd: float
    saved_usd: float
    saved_share: float | None
    interval: Interval | None
    assumed: Interval | None
    whole: Interval | None


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the traffic, and what each scenario would have saved of it."""

    name: str
    requests: int
    spent_usd: float
    shown_usd: float
    stated_usd: float
    open_usd: float


@dataclass(frozen=True, slots=True)
class Move:
    """Requests of one group and task that would go from one model to another."""

    group: str
    task: str
    served: str
    to: str
    requests: int
    spent_usd: float
    routed_usd: float
    verdict: str
    why: str
    needed: int | None  # graded answers that would settle it


@dataclass(frozen=True, slots=True)
class CandidateLine:
    """A candidate. Prices are USD per million tokens. `times_as_long` compares its answers with the present ones."""

    name: str
    input_usd: float | None
    output_usd: float | None
    cached_usd: float | None
    times_as_long: float
    times_interval: Interval
    length_source: str
    length_answers: int


@dataclass(frozen=True, slots=True)
class Unmoved:
    """Requests that are in no comparison, and why."""

    why: str
    requests: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class Day:
    """One day, for the plot."""

    start_s: int
    spent_usd: float
    stated_usd: float  # what the scenario `stated` would have cost
    open_usd: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The whole estimate. `spent_usd` is over the compared `requests`; `moves` are those of the scenario `stated`."""

    source: str
    first_s: float  # Unix seconds
    last_s: float
    rows: int
    broken: int
    requests: int
    spent_usd: float
    savings: tuple[Saving, ...]
    interval_basis: str
    groups: tuple[Part, ...]
    tasks: tuple[Part, ...]
    keys: tuple[Part, ...]
    moves: tuple[Move, ...]
    questions: tuple[Move, ...]  # open or merely stated, each by itself, the most valuable first
    candidates: tuple[CandidateLine, ...]
    unmoved: tuple[Unmoved, ...]
    assumptions: tuple[str, ...]
    days: tuple[Day, ...] = field(repr=False)
