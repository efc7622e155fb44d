"""The order of a run, its forecast and its outcome."""

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
    """What to measure, and within which limits. `timeout_s` bounds each request. `endpoints`: `lock.endpoint_of`."""

    plan: Plan
    limits: Limits
    timeout_s: float
    terms: Terms = field(default_factory=Terms)
    endpoints: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of what is measured, without limits on time and cost."""
        limits = self.limits
        how = {"concurrency": limits.concurrency, "warmup": limits.warmup, "parallel": limits.parallel}
        return fingerprint(self.plan, {**how, "arrivals": limits.arrivals})


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has taken until now: USD at the known prices, and wall-clock seconds."""

    usd: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a run: what its first requests took, and what is still to come."""

    so_far: Spent
    coming: Estimate

    @property
    def usd(self) -> float | None:
        """USD in total; `None` where no price is known."""
        return None if self.coming.total.usd is None else self.so_far.usd + self.coming.total.usd

    @property
    def seconds(self) -> float:
        """Seconds in total."""
        return self.so_far.seconds + self.coming.total.seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results and cost of a run. `plan` is what was left to measure; an interrupted run had measured `finished`."""

    plan: Plan
    results: Sequence[CellResult]
    finished: Mapping[CellKey, Done]
    stopped: Mapping[str, str]  # by deployment, why
    forecast: Forecast
    spent: Spent
    uncounted: frozenset[str]  # deployments without a price
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by deployment, how requests were changed

    @property
    def is_whole(self) -> bool:
        """Whether every cell was measured to its end."""
        return len(self.results) == len(self.plan.cells) and all(result.complete for result in self.results)
