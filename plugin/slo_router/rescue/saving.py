"""What a rescue saved. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slo_router.contract.record import TryRecord
from slo_router.contract.units import MS


def saved_s(tries: Sequence[TryRecord]) -> float:
    """Seconds that a rescue saved. A silent deployment is assumed to stay silent for as long again as it was.

    What the next one took for its first token, or its whole answer, is subtracted. 0 where that is more, or unknown.
    """
    silent, last = next((one for one in tries if one.ending == "silent"), None), tries[-1]
    answered_ms = last.ended_ms if last.first_token_ms is None else last.first_token_ms
    if silent is None or silent.sent_ms is None or silent.ended_ms is None or answered_ms is None:
        return 0.0
    return max(0.0, (silent.ended_ms - silent.sent_ms) - (answered_ms - silent.ended_ms)) * MS
