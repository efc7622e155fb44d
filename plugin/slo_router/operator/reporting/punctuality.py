"""How likely a deployment keeps a latency limit, from its recorded requests.

    share of requests with observed ÷ predicted ≤ limit ÷ predicted      (of several limits the least likely decides)

So requests under one limit also tell of another limit, prompt length or load. Ratios are kept in bins 2 % wide. An
error keeps no limit.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from slo_router.contract.model import Prediction, Slo
from slo_router.contract.units import MS_PER_S
from slo_router.operator.replay.recorded import Recorded

BINS_PER_E = 50
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
Tightness = tuple[tuple[str, int], ...]  # (latency, bin of limit ÷ predicted), for each latency with a limit


class Trials(NamedTuple):
    """The number of hits in a number of trials."""

    hits: int
    trials: int


class Punctuality:
    """The recorded latencies of one deployment, relative to their predictions."""

    def __init__(self) -> None:
        self._requests = self._errors = 0
        self._ratios: dict[str, Counter[int]] = {name: Counter() for name in LATENCIES}

    def add(self, record: Recorded, predicted: Prediction | None) -> None:
        """Counts one request that the deployment answered or failed."""
        self._requests += 1
        if record.outcome == "error":
            self._errors += 1
            return
        for name, observed_ms in zip(LATENCIES, (record.ttft_ms, record.tpot_ms, record.e2e_ms), strict=True):
            expected_s = None if predicted is None else getattr(predicted, name)
            if observed_ms and expected_s:
                self._ratios[name][_bin(observed_ms / MS_PER_S / expected_s)] += 1

    def kept(self, tightness: Tightness) -> Trials:
        """How many requests would have kept limits of this tightness, and of how many."""
        found = [Trials(self._requests - self._errors, self._requests)]
        for name, most in tightness:
            ratios = self._ratios[name]
            hits = sum(count for ratio, count in ratios.items() if ratio <= most)
            found.append(Trials(hits, ratios.total() + self._errors if ratios else 0))
        return min(found, key=lambda one: (one.trials > 0, one.hits / one.trials if one.trials else 0.0))


def tightness(slo: Slo, predicted: Prediction) -> Tightness | None:
    """Each limit relative to its prediction; `None` if a limit has no prediction."""
    found = []
    for name in LATENCIES:
        limit_s, expected_s = getattr(slo, name), getattr(predicted, name)
        if limit_s is not None:
            if not expected_s:
                return None
            found.append((name, _bin(limit_s / expected_s)))
    return tuple(found)


def _bin(ratio: float) -> int:
    return round(math.log(max(ratio, 1e-9)) * BINS_PER_E)
