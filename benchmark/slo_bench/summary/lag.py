"""How late an open loop was sent, and whether its figures can be trusted. Pure.

A sender that cannot keep up sends late and in bursts, and so measures itself. The timer alone is up to 1 ms late, for
the event loop's clock counts milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slo_bench.summary.figures import rounded_ms
from slo_bench.summary.percentiles import percentile

MAX_P99_S = 0.010  # with a larger lag the offered load differs from the wanted one


@dataclass(frozen=True, slots=True)
class Lag:
    """Actual − scheduled send over one load, seconds."""

    p50_s: float
    p99_s: float
    max_s: float

    @property
    def is_trusted(self) -> bool:
        """Whether the schedule was kept well enough for open-loop figures."""
        return self.p99_s <= MAX_P99_S

    def document(self) -> dict[str, float | None]:
        """As JSON values, milliseconds."""
        return {"p50": rounded_ms(self.p50_s), "p99": rounded_ms(self.p99_s), "max": rounded_ms(self.max_s)}


def lag_of(lags_s: Iterable[float | None]) -> Lag | None:
    """The lag over the requests with a scheduled time; `None` without any."""
    known = sorted(lag_s for lag_s in lags_s if lag_s is not None)
    return Lag(percentile(known, 0.5), percentile(known, 0.99), known[-1]) if known else None
