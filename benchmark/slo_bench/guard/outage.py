"""A deployment that was there and cannot be reached: it is being restarted, as a rule. No I/O, and no clock of its own.

Nothing can be learned of it meanwhile, so the requests that met the outage are sent again when it is over, and its
seconds are taken off the time that a cell took. An outage that lasts is the end of the measurement, not its result.
"""

from __future__ import annotations


class Outage:
    """The outages of one deployment. Times in seconds on one clock."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._since_s: float | None = None

    @property
    def is_on(self) -> bool:
        """The last that was heard is that it cannot be reached."""
        return self._since_s is not None

    def unreached(self, now_s: float) -> bool:
        """A request did not reach it. Whether that is news."""
        if self._since_s is not None:
            return False
        self._since_s = now_s
        return True

    def reached(self, sent_s: float) -> float | None:
        """A request that was sent at `sent_s` reached it. How long the outage was which that ended, if any."""
        if self._since_s is None or sent_s <= self._since_s:
            return None
        lasted_s, self._since_s = sent_s - self._since_s, None
        self._ended_s += lasted_s
        return lasted_s

    def away_s(self, now_s: float) -> float:
        """All outages until now."""
        return self._ended_s + (0.0 if self._since_s is None else now_s - self._since_s)
