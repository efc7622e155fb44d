"""Sums of a day begin anew at midnight, UTC, whenever a test runs."""

from __future__ import annotations

import time

from slo_router.contract.ages import DAY_S


def stay_within_a_day(seconds: float) -> None:
    """Waits for midnight if it is nearer than what a test takes."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < seconds:
        time.sleep(left_s + 0.1)
