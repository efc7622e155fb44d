"""How long evidence counts, for deployments change. Pure.

    error rate     ERROR_RATE_LASTS_S; an agent that runs every night has measured it again by then
    answer fault   ANSWER_FAULT_LASTS_S
    latencies      without end; from MEASURED_LASTS_S on, trials go to a deployment whose old latencies miss the SLO
    sweep          until a newer benchmark contradicts it (`explains`), or is FIT_LASTS_S newer

Live requests can outweigh an error rate or an answer fault earlier: see `Proof`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from slo_router.contract.model import LatencyFit, Metrics

HOUR_S, DAY_S = 3_600.0, 86_400.0
ERROR_RATE_LASTS_S = DAY_S
ANSWER_FAULT_LASTS_S = 7 * DAY_S
MEASURED_LASTS_S = DAY_S
FIT_LASTS_S = 14 * DAY_S
LENGTH_HALF_LIFE_S = 6 * HOUR_S  # of the weight of an answer's length
CACHE_LASTS_S = HOUR_S  # a conversation may be in a prefix cache for so long
CACHED_SOON_S = 300.0  # providers say that they keep a prefix for so long; later less of it is found
CACHED_HALF_LIFE_S = HOUR_S  # of the weight of cached tokens that a deployment reported
HANDFUL = 5  # so many live answers outweigh an older benchmark
ODD_SHARE = 0.25  # share of bad answers that a working deployment may have; the agent allows the same
DISAGREES = 2.0  # a benchmark beyond this factor means that the deployment has changed since the sweep
ENDS_TELL = frozenset({"looping", "no_stop", "empty", "truncated"})  # faults that the end of an answer shows


def fresh(row: Metrics, now_s: float) -> Metrics:
    """The row without the error rate and the answer fault that have lapsed at `now_s` (Unix seconds)."""
    if row.error_rate is not None and now_s - row.failed_at_s >= ERROR_RATE_LASTS_S:
        row = row._replace(error_rate=None)
    if row.answer_fault is not None and now_s - row.faulty_at_s >= ANSWER_FAULT_LASTS_S:
        row = row._replace(answer_fault=None)
    return row


def lapses_at_s(rows: Iterable[Metrics]) -> float:
    """When the next error rate or answer fault lapses, Unix seconds; infinite for never."""
    moments = [row.failed_at_s + ERROR_RATE_LASTS_S for row in rows if row.error_rate]
    moments += [row.faulty_at_s + ANSWER_FAULT_LASTS_S for row in rows if row.answer_fault]
    return min(moments, default=math.inf)


class Proof(NamedTuple):
    """Counts of good and bad live answers of a deployment in a category, since a benchmark found a fault."""

    since_s: float  # Unix seconds when the fault was measured; it identifies the finding
    good: int = 0
    bad: int = 0

    def plus(self, other: Proof | None) -> Proof:
        """The sum of both, if they are about the same finding; else this one."""
        if other is None or other.since_s != self.since_s:
            return self
        return self._replace(good=self.good + other.good, bad=self.bad + other.bad)

    @property
    def bad_share(self) -> float | None:
        """Share of bad answers, 0..1; `None` below `HANDFUL` answers."""
        count = self.good + self.bad
        return self.bad / count if count >= HANDFUL else None


def explains(fit: LatencyFit, row: Metrics) -> bool:
    """Whether a benchmark's latencies agree with a sweep's fit, within a factor of `DISAGREES`."""
    shortest, longest = fit.tokens_min, fit.tokens_max
    if row.prompt_tokens_mean is not None:
        shortest = longest = row.prompt_tokens_mean
    ttft_s = row.ttft_p50_s if row.ttft_s is None else row.ttft_s
    least_s, most_s = (fit.a_s + fit.b_s_per_token * tokens for tokens in (shortest, longest))
    most_tpot_s = fit.d_s + fit.e_s_per_request * fit.load_max
    return _is_between(ttft_s, least_s, most_s) and _is_between(row.tpot_s, fit.d_s, most_tpot_s)


def _is_between(value_s: float | None, least_s: float, most_s: float) -> bool:
    return value_s is None or least_s / DISAGREES <= value_s <= most_s * DISAGREES


def may_refute(fault: str | None) -> bool:
    """Whether live answers can show that a fault is gone."""
    return fault is not None and fault.partition(" ")[0] in ENDS_TELL
