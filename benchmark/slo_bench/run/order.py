"""What a run is told to do, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slo_bench.guard.guard import Terms
from slo_bench.load.plan import Limits, Plan
from slo_bench.run.estimate import CellKey, Estimate
from slo_bench.run.memory import Done, fingerprint
from slo_bench.summary.results import CellResult


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure, and on what terms. `timeout_s` bounds each request; `endpoints` see `lock.endpoint_of`."""

    plan: Plan
    limits: Limits
    timeout_s: float
    terms: Terms = field(default_factory=Terms)
    endpoints: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Names what is measured, whatever it may take."""
        limits = self.limits
        how = {"concurrency": limits.concurrency, "warmup": limits.warmup, "parallel": limits.parallel}
        return fingerprint(self.plan, {**how, "arrivals": limits.arrivals})


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has taken until now: USD at the prices that are known, and seconds on the wall."""

    usd: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run says beforehand: what it has taken to find out, and what is still to come."""

    so_far: Spent
    coming: Estimate

    @property
    def usd(self) -> float | None:
        """In all; `None` where no price is known."""
        return None if self.coming.total.usd is None else self.so_far.usd + self.coming.total.usd

    @property
    def seconds(self) -> float:
        """In all."""
        return self.so_far.seconds + self.coming.total.seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found and took. `plan` is what was left of the order; `finished` an interrupted run had done."""

    plan: Plan
    results: Sequence[CellResult]
    finished: Mapping[CellKey, Done]
    stopped: Mapping[str, str]  # by deployment, why
    forecast: Forecast
    spent: Spent
    uncounted: frozenset[str]  # deployments without a price
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by deployment, how it was asked otherwise

    @property
    def is_whole(self) -> bool:
        """Every cell was asked to its end."""
        return len(self.results) == len(self.plan.cells) and all(result.complete for result in self.results)
