"""Daily sums restart at midnight UTC, which may come during a test."""

from __future__ import annotations

import time

from slo_router.contract.ages import DAY_S


def stay_within_a_day(seconds: float) -> None:
    """Waits until after midnight if midnight comes within `seconds`, the time that a test takes."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < seconds:
        time.sleep(left_s + 0.1)
