"""Sums over requests. Their memory grows only with the number of deployments, categories, teams and hours.

Attainment is met ÷ judged. An error counts as not met. A request is not judged if a field of its SLO could not be
measured. USD are summed over requests whose spent and baseline cost are both known. TTFT is kept in bins 2 % wide.
"""

from __future__ import annotations

import math
from collections import defaultdict

from slo_router.contract.intervals import PairSums
from slo_router.operator.replay.counterfactual import Money
from slo_router.operator.replay.recorded import Recorded

BINS_PER_E = 50
HOUR_S = 3_600


Bounded = tuple[float, float]  # a quality's mean, and the bound that `min_quality` was held against


class Bounds:
    """Sums of quality means and bounds, over requests whose records have both."""

    def __init__(self) -> None:
        self.count, self._mean, self._bound = 0, 0.0, 0.0

    def add(self, bounded: Bounded) -> None:
        """Counts one request."""
        self.count, self._mean, self._bound = self.count + 1, self._mean + bounded[0], self._bound + bounded[1]

    @property
    def means(self) -> tuple[float | None, float | None]:
        """The average mean and the average bound; `None` without a request."""
        return (self._mean / self.count, self._bound / self.count) if self.count else (None, None)


class Tally:
    """Sums over some requests."""

    def __init__(self) -> None:
        self.requests = self.errors = self.cache_hits = self.disconnected = self.shadow = 0
        self.met = self.missed = 0
        self.tokens = 0
        self.priced = self.unpriced = self.estimated = 0
        self.spent_usd = self.baseline_usd = 0.0
        self._cc = self._cb = self._bb = 0.0
        self.quality_count = 0
        self.quality = self.baseline_quality = 0.0  # sums
        self.bounds = Bounds()
        self.ttft_bins: dict[int, int] = {}

    def add(self, record: Recorded, money: Money, ttft_bin: int | None, bounded: Bounded | None = None) -> None:
        """Counts one request; `ttft_bin` is `bin_of` its TTFT."""
        self.requests += 1
        self.shadow += record.decision is not None and record.decision.shadow
        if record.slo_met is True:
            self.met += 1
        elif record.slo_met is False:
            self.missed += 1
        if record.outcome == "error":
            self.errors += 1
            return
        if record.outcome == "cache_hit":
            self.cache_hits += 1
        elif record.outcome == "disconnected":
            self.disconnected += 1
        if ttft_bin is not None:
            self.ttft_bins[ttft_bin] = self.ttft_bins.get(ttft_bin, 0) + 1
        spent_usd, baseline_usd, quality, baseline_quality, is_exact = money
        self.tokens += (record.prompt_tokens or 0) + (record.completion_tokens or 0)
        if spent_usd is None or baseline_usd is None:
            self.unpriced += 1
        else:
            self.priced += 1
            self.estimated += not is_exact
            self.spent_usd += spent_usd
            self.baseline_usd += baseline_usd
            self._cc += spent_usd * spent_usd
            self._cb += spent_usd * baseline_usd
            self._bb += baseline_usd * baseline_usd
        if quality is not None and baseline_quality is not None:
            self.quality_count += 1
            self.quality += quality
            self.baseline_quality += baseline_quality
        if bounded is not None:
            self.bounds.add(bounded)

    def known_usd(self, usd: float) -> float | None:
        """The sum `usd`; `None` where no request has a known cost."""
        return None if self.unpriced and not self.priced else usd

    @property
    def money(self) -> PairSums:
        """The sums of spent and baseline USD, and of their squares and products."""
        return PairSums(self.priced, self.spent_usd, self.baseline_usd, self._cc, self._cb, self._bb)

    def ttft_ms(self, level: float) -> float | None:
        """The TTFT quantile at `level` (0..1), in ms, within 1 %; `None` without timed streams."""
        wanted, below = level * sum(self.ttft_bins.values()), 0
        for key in sorted(self.ttft_bins):
            below += self.ttft_bins[key]
            if below >= wanted:
                return math.exp(key / BINS_PER_E)
        return None


def bounded_of(record: Recorded) -> Bounded | None:
    """What the decision believed of the deployment that answered; `None` without a bound, as older versions wrote."""
    candidates = () if record.decision is None else record.decision.candidates
    for one in candidates:
        if one.deployment == record.deployment:
            mean, bound = one.predicted.quality, one.predicted.quality_bound
            return None if mean is None or bound is None else (mean, bound)
    return None


def bin_of(ttft_ms: float | None) -> int | None:
    """The bin of a TTFT; `None` if it is unmeasured or below a microsecond."""
    return None if ttft_ms is None or ttft_ms < 0.001 else round(math.log(ttft_ms) * BINS_PER_E)


class Tallies:
    """The total, and its parts."""

    def __init__(self) -> None:
        self.total = Tally()
        self.deployments: defaultdict[str, Tally] = defaultdict(Tally)
        self.categories: defaultdict[str, Tally] = defaultdict(Tally)
        self.teams: defaultdict[str, Tally] = defaultdict(Tally)
        self.bounds: defaultdict[tuple[str, str], Bounds] = defaultdict(Bounds)  # like `served`
        self.hours: defaultdict[int, Tally] = defaultdict(Tally)  # by Unix hour
        self.served: defaultdict[tuple[str, str], int] = defaultdict(int)  # by deployment and category, errors left out
        self.first_s = math.inf
        self.last_s = 0.0

    def add(self, record: Recorded, money: Money) -> None:
        """Counts one request in the total and in each of its parts."""
        ttft_bin, bounded = bin_of(record.ttft_ms), bounded_of(record)
        deployment, category = record.deployment or "(none)", record.category or "(not routed by SLO)"
        self.total.add(record, money, ttft_bin, bounded)
        self.deployments[deployment].add(record, money, ttft_bin, bounded)
        self.categories[category].add(record, money, ttft_bin, bounded)
        self.teams[record.team_id or "(no team)"].add(record, money, ttft_bin, bounded)
        self.hours[int(record.ts // HOUR_S)].add(record, money, None)
        if record.outcome != "error":
            self.served[deployment, category] += 1
            if bounded is not None:
                self.bounds[deployment, category].add(bounded)
        self.first_s = min(self.first_s, record.ts)
        self.last_s = max(self.last_s, record.ts)
