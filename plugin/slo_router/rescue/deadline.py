"""The time by which a deployment's first content is to be there, from the prediction for this request. Pure.

    quantile  1.5 × p95, or the p99.9 of a log-normal time where that is later: p50 × (p95 ÷ p50)^1.88. An observed
              p99 would not do, for it is made of stalls. At most 4 × p95
    SLO       sooner, so that the next deployment's typical time still fits. Not where that is sooner than 1.5 × p95:
              to miss the SLO as expected is no stall, and the next deployment would miss it, too
    bounds    `min_ms` and `max_ms`

The curve is the one that was fitted to answers, for the load that the request met. The curve that waiting requests make
slower would not do: each request to a hanging deployment would wait longer than the one before.

With little live evidence, MEASURED × the benchmark's time counts, or the live time where that is later. If nobody
measured the deployment, there is no deadline. A benchmark may be wrong, and a request that is given up teaches nothing.
So each request that was given up by the benchmark alone makes its deadline DOUBT times as long for a day, MOST_DOUBTS
times at most.

Few answers hardly show how wide the spread is: with eight it counts as a quarter wider, with fifty as 4 % wider.

A late answer may be waited for (`patience`) until LONGEST × p95: whatever the spread, hardly any answer takes longer.

A prompt that is some times longer than those that were answered may take that many times as long. No line through the
short ones tells. If it were given up for that, neither it nor the next would ever teach how long such prompts take.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from slo_router.contract.model import Decision
from slo_router.contract.settings.group import RescueSettings
from slo_router.contract.units import MS
from slo_router.decision.prediction import ENOUGH_LIVE
from slo_router.latency.curve import P50, P95, Curve, ttft_s
from slo_router.live.state import Flight

LATE, LATEST, LONGEST = 1.5, 4.0, 8.0  # × p95
RARE = 3.09 / 1.645  # standard deviations to p99.9 and to p95
THIN = 2.0  # answers; this ÷ the number of live answers is the part by which the spread counts as wider
MEASURED = 3.0  # × what a benchmark found: it says little of the spread
DOUBT, MOST_DOUBTS = 4.0, 3  # × that, for each request that was given up by it alone
SHORT_TOKENS = 1_000  # such a prompt is not long for a benchmark, whose prompts are of unknown length
WHOLE = 1.5  # × the time of the longest answer that is likely


class Deadline(NamedTuple):
    """The deadline of an attempt, in seconds from its dispatch."""

    due_s: float  # when its first content is to be there
    longest_s: float  # until when it may be waited for


def first_content(
    decision: Decision,
    flight: Flight,
    fitted: Curve | None,
    settings: RescueSettings,
    *,
    left_s: float | None = None,
    next_s: float = 0.0,
    untaught: int = 0,
) -> Deadline | None:
    """The flight's deadline; `None` where nobody knows what is usual.

    `left_s` is what the SLO leaves for the first token, `next_s` what the next deployment typically takes. `untaught`
    is how many requests were given up there in a day by the benchmark alone.
    """
    tokens = fresh_tokens(decision)
    found_s = p95_s = 0.0
    if fitted is not None and fitted.weight > 0:
        longer = max(1.0, tokens / (fitted.known_tokens or SHORT_TOKENS))
        typical_s = longer * ttft_s(fitted, tokens / longer, flight.in_flight, flight.hidden_tokens / longer)
        p50_s, spread = typical_s * fitted.ttft_ratios[P50], fitted.ttft_ratios[P95] / fitted.ttft_ratios[P50]
        p95_s = p50_s * spread ** (1 + THIN / max(fitted.weight, ENOUGH_LIVE))
        found_s = min(max(LATE * p95_s, p50_s * (p95_s / p50_s) ** RARE), LATEST * p95_s)
    if not knows_enough(fitted):
        chosen = decision.selected
        if chosen is None or chosen.prediction.ttft_s is None:
            return None
        longer = max(1.0, tokens / max(SHORT_TOKENS, 0.0 if fitted is None else fitted.known_tokens))
        found_s = max(found_s, longer * MEASURED * chosen.prediction.ttft_s)
        found_s = bounded(bounded(found_s, settings) * DOUBT**untaught, settings)
        return Deadline(found_s, found_s)
    longest_s, keeps_s = LONGEST * p95_s, math.inf if left_s is None else left_s - next_s
    if keeps_s >= LATE * p95_s:
        found_s, longest_s = min(found_s, keeps_s), min(longest_s, keeps_s)
    return Deadline(bounded(found_s, settings), bounded(longest_s, settings))


def knows_enough(fitted: Curve | None) -> bool:
    """Whether live evidence says by itself how long a deployment takes."""
    return fitted is not None and fitted.weight >= ENOUGH_LIVE


def whole_answer_s(flight: Flight, settings: RescueSettings) -> float | None:
    """Seconds until an unstreamed answer is due; `None` where the settings or its unknown length forbid that."""
    if not settings.whole_answers or flight.expected_s is None:
        return None
    return bounded(WHOLE * flight.expected_s, settings)


def bounded(seconds: float, settings: RescueSettings) -> float:
    """Within what the group's settings allow."""
    return min(max(seconds, settings.min_ms * MS), settings.max_ms * MS)


def fresh_tokens(decision: Decision) -> int:
    """Tokens of the prompt that are in no cache."""
    return max(decision.features.prompt_tokens - decision.cached_tokens, 0)
