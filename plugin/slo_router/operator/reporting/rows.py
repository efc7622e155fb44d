"""The report's values, for tables, JSON, CSV and the HTML page. Shares are 0..1; `None` is unmeasured."""

from __future__ import annotations

from dataclasses import dataclass, field

from slo_router.contract.intervals import Interval
from slo_router.operator.drift.drift import Drift
from slo_router.operator.reporting.tally import Tally


@dataclass(frozen=True, slots=True)
class Row:
    """The sums over some requests."""

    name: str
    requests: int
    share: float
    errors: int
    cache_hits: int
    tokens: int
    spent_usd: float | None
    baseline_usd: float | None
    saved_usd: float | None
    saved_share: float | None
    saved_interval: Interval | None
    unpriced: int
    attainment: float | None
    attainment_interval: Interval | None
    judged: int
    quality: float | None
    baseline_quality: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    shadow: int = 0  # requests in shadow: LiteLLM chose
    quality_bound: float | None = None  # the mean of what decisions held `min_quality` against


@dataclass(frozen=True, slots=True)
class QualityRow:
    """The quality (0..1) of one deployment's answers in one category, and its evidence.

    `mean` and `bound` (what `min_quality` is held against) are averages over the requests' records. If the records have
    none, they are what is believed now.
    """

    deployment: str
    category: str
    requests: int
    configured: float | None
    measured: float | None
    measured_answers: int | None
    measured_interval: Interval | None
    mean: float | None = None
    bound: float | None = None
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of traffic, for the plots. The USD are sums over the `priced` requests."""

    start_s: int
    requests: int
    spent_usd: float
    baseline_usd: float
    met: int
    judged: int
    priced: int = 0

    @classmethod
    def of(cls, start_s: int, tally: Tally) -> Hour:
        """The hour whose requests were tallied."""
        judged = tally.met + tally.missed
        return cls(start_s, tally.requests, tally.spent_usd, tally.baseline_usd, tally.met, judged, tally.priced)

    @property
    def attainment(self) -> float | None:
        """Of the judged requests, those that kept their SLO, 0..1; `None` where none was judged."""
        return self.met / self.judged if self.judged else None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `slo-router report` shows. Times are Unix seconds."""

    first_s: float | None
    last_s: float | None
    baseline: str
    lines_read: int
    lines_broken: int
    lines_left_out: int
    total: Row
    interval_basis: str
    assumptions: tuple[str, ...]
    deployments: tuple[Row, ...]
    categories: tuple[Row, ...]
    teams: tuple[Row, ...]
    quality: tuple[QualityRow, ...]
    drift: Drift
    hours: tuple[Hour, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lines:
    """How many lines the journal read, found broken, and left out."""

    read: int
    broken: int
    left_out: int
