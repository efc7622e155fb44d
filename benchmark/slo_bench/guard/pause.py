"""Whether a deployment may be measured now, or live traffic has it. No I/O, and no clock of its own.

    open ──(more than `above` live requests)──→ closed ──(no longer)──→ open
                                                  └──(closed for `most_s` in all)──→ over: StoppedError

While it is closed no request is sent. Those on their way end, and only then does the pause begin to count: `paused_s`
is time in which nothing was measured, and is taken off the time that a cell took.
"""

from __future__ import annotations

from slo_bench.errors import StoppedError


class Pause:
    """The pauses of one deployment. Times in seconds on one clock."""

    def __init__(self, above: int, most_s: float) -> None:
        self.live = 0.0
        self._above = above
        self._most_s = most_s
        self._on_the_way = 0
        self._closed_s = 0.0
        self._closed_since_s: float | None = None
        self._idle_s = 0.0
        self._idle_since_s: float | None = None

    @property
    def is_closed(self) -> bool:
        """No request may be sent now."""
        return self._closed_since_s is not None

    def heard(self, live: float, now_s: float) -> None:
        """There are `live` requests of others now."""
        self.live = live
        if live > self._above and not self.is_closed:
            self._closed_since_s = now_s
            self._idle_since_s = None if self._on_the_way else now_s
        elif live <= self._above and self._closed_since_s is not None:
            self._closed_s += now_s - self._closed_since_s
            self._idle_s = self.paused_s(now_s)
            self._closed_since_s = self._idle_since_s = None

    def sent(self) -> None:
        """A request of ours is on its way."""
        self._on_the_way += 1

    def ended(self, now_s: float) -> None:
        """It has ended."""
        self._on_the_way -= 1
        if self.is_closed and not self._on_the_way:
            self._idle_since_s = now_s

    def paused_s(self, now_s: float) -> float:
        """Time so far in which nothing was on its way because of live traffic."""
        return self._idle_s + (0.0 if self._idle_since_s is None else now_s - self._idle_since_s)

    def check(self, now_s: float) -> None:
        """Raises StoppedError where live traffic has had the deployment for too long."""
        if self._closed_since_s is not None and self._closed_s + now_s - self._closed_since_s >= self._most_s:
            raise StoppedError(
                f"more than {self._above} live requests for {self._most_s / 60:g} min, {self.live:.0f} now"
            )
