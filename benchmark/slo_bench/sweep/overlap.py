"""The mean number of other requests in flight while an answer was written. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from slo_bench.load.sending import Sent


def mean_load(sent: Sequence[Sent]) -> list[float | None]:
    """For each request the mean number of others in flight from its first token to its last, `None` without tokens."""
    changes = sorted([(one.sent_s, 1) for one in sent] + [(_end_s(one), -1) for one in sent])
    times = [at_s for at_s, _ in changes]
    counts = list(accumulate(change for _, change in changes))
    areas = [0.0]  # ∫ count until each change
    for (before_s, after_s), count in zip(pairwise(times), counts, strict=False):
        areas.append(areas[-1] + count * (after_s - before_s))

    def area(at_s: float) -> float:
        last = bisect_right(times, at_s) - 1
        return 0.0 if last < 0 else areas[last] + counts[last] * (at_s - times[last])

    found: list[float | None] = []
    for one in sent:
        ttft_s, e2e_s = one.sample.ttft_s, one.sample.e2e_s
        if ttft_s is None or e2e_s is None or e2e_s <= ttft_s:
            found.append(None)
        else:
            whole = area(one.sent_s + e2e_s) - area(one.sent_s + ttft_s)
            found.append(max(whole / (e2e_s - ttft_s) - 1, 0.0))
    return found


def _end_s(one: Sent) -> float:
    return one.ended_s if one.sample.e2e_s is None else one.sent_s + one.sample.e2e_s
