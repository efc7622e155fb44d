"""How long evidence counts. Everything that steers was measured at some time, and things change. Pure.

    error rate     ERROR_RATE_LASTS_S: an agent that runs every night has measured it anew by then
    answer fault   ANSWER_FAULT_LASTS_S
    latencies      the last ones are the best that is known; from MEASURED_LASTS_S on a trial goes where they miss
    sweep          until a newer benchmark finds what it cannot explain, or FIT_LASTS_S before a benchmark

Newer evidence outweighs older before that: `outweighs` is what live requests say of an error rate or an answer fault.
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
LENGTH_HALF_LIFE_S = 6 * HOUR_S  # of what an answer's length says of the next
CACHE_LASTS_S = HOUR_S  # of a conversation in a prefix cache
CACHED_SOON_S = 300.0  # for so long providers say that they keep it; after that less of it is found
CACHED_HALF_LIFE_S = HOUR_S  # of what a deployment reported that it read from its cache
HANDFUL = 5  # live answers that say more than a benchmark of the same before
ODD_SHARE = 0.25  # of answers that a working deployment may have, as the agent allows it
DISAGREES = 2.0  # times what a sweep explains: the deployment has changed since
ENDS_TELL = frozenset({"looping", "no_stop", "empty", "truncated"})  # faults that the end of an answer shows


def fresh(row: Metrics, now_s: float) -> Metrics:
    """A row without what has lapsed."""
    if row.error_rate is not None and now_s - row.failed_at_s >= ERROR_RATE_LASTS_S:
        row = row._replace(error_rate=None)
    if row.answer_fault is not None and now_s - row.faulty_at_s >= ANSWER_FAULT_LASTS_S:
        row = row._replace(answer_fault=None)
    return row


def lapses_at_s(rows: Iterable[Metrics]) -> float:
    """When the next of these lapses, Unix seconds; never is infinite."""
    moments = [row.failed_at_s + ERROR_RATE_LASTS_S for row in rows if row.error_rate]
    moments += [row.faulty_at_s + ANSWER_FAULT_LASTS_S for row in rows if row.answer_fault]
    return min(moments, default=math.inf)


class Proof(NamedTuple):
    """What live requests showed of a deployment in a category since a benchmark said something against it."""

    since_s: float  # when that was measured; it tells one finding from another
    good: int = 0
    bad: int = 0

    def plus(self, other: Proof | None) -> Proof:
        """Both together, where they are about the same finding."""
        if other is None or other.since_s != self.since_s:
            return self
        return self._replace(good=self.good + other.good, bad=self.bad + other.bad)

    @property
    def bad_share(self) -> float | None:
        """0..1; `None` while they are too few to outweigh anything."""
        count = self.good + self.bad
        return self.bad / count if count >= HANDFUL else None


def explains(fit: LatencyFit, row: Metrics) -> bool:
    """Whether a benchmark's latencies could be those of the deployment that was swept."""
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
