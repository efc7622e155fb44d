"""Whether a late request is waited for, by what giving up earlier ones has shown of its deployment. Pure.

A request that is given up does not show whether it would have been answered: first tokens with a long tail look like
stalls. So

    a request was given up   once another is answered there, the next late request is waited for, until LONGEST
    its first token came     the next late request is waited for, too
    it did not come          the next QUICK late requests are given up at their deadline, then one is waited for

No request is waited for while the server may hang: another request is late, too, and none sent later was answered.

A benchmark may be wrong. Each request that was given up by it alone makes its deadline longer for a day
(`deadline.DOUBT`).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from slo_router.contract.ages import DAY_S
from slo_router.live.state import Flight, LiveState
from slo_router.rescue.deadline import MOST_DOUBTS, knows_enough

QUICK = 7


class _Last(NamedTuple):
    """When a request was last given up at a deployment, and how many more will be at their deadline."""

    at_s: float
    quick: int = 0


class Patience:
    """One worker's patience, by deployment. Times are Unix seconds."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}
        self._untaught_s: dict[str, deque[float]] = {}  # when a request was given up by the benchmark alone

    def untaught(self, flight: Flight) -> int:
        """How many requests to the flight's deployment were given up in a day by the benchmark alone."""
        return sum(flight.at_s - at_s < DAY_S for at_s in self._untaught_s.get(flight.deployment_id, ()))

    def waits(self, flight: Flight, state: LiveState, now_s: float) -> bool:
        """Whether a flight that is past its deadline is waited for."""
        last = self._last.get(flight.deployment_id)
        if last is None or last.quick > 0 or state.begun_until_s <= last.at_s or not knows_enough(state.fitted):
            return False
        return state.begun_until_s > flight.at_s or not any(
            one is not flight and key not in state.begun and now_s - one.at_s > (one.expected_s or 0.0)
            for key, one in state.flights.items()
        )

    def gave_up(self, flight: Flight, state: LiveState, now_s: float, *, was_waited_for: bool) -> None:
        """The flight is given up."""
        name = flight.deployment_id
        if not knows_enough(state.fitted):
            self._untaught_s.setdefault(name, deque(maxlen=MOST_DOUBTS)).append(now_s)
            return
        before = self._last.get(name, _Last(now_s))
        self._last[name] = _Last(now_s, QUICK if was_waited_for else max(before.quick - 1, 0))
