"""A deployment that is being measured: its pauses, its outages, our requests under way, and the clocks that stop.

A pause: live traffic has the deployment.

    open ──(more than `above` live requests)──→ closed ──(no longer)──→ open
                                                  └──(closed for `most_s` in all)──→ over: StoppedError

While it is closed no request is sent, and once those under way have ended, time does not count.

An outage: a deployment that was there cannot be reached; mostly it is being restarted. Requests that met the outage are
sent again after it, and its seconds do not count. An outage that lasts ends the measurement.

`Pause` and `Outage` do no I/O and have no clock of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from slo_bench.errors import StoppedError
from slo_bench.measure.connecting import is_reachable
from slo_bench.measure.stream import CONNECTION, CUT_STREAM, Sample
from slo_bench.measure.targets import Target
from slo_router.contract.model import Facts


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


class Outage:
    """The outages of one deployment. Times in seconds on one clock."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._since_s: float | None = None

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


class Own(NamedTuple):
    """Requests of the agent at a deployment: the most at once, and when one was last on its way."""

    most: int
    last_s: float


@dataclass(slots=True)
class Held:
    """As long as its lock is held."""

    facts: Facts
    pause: Pause
    outage: Outage = field(default_factory=Outage)
    on_the_way: int = 0
    own: Own = field(default=Own(0, 0.0))

    def open_s(self) -> float:
        """Seconds, standing still while live traffic has it."""
        now_s = perf_counter()
        return now_s - self.pause.paused_s(now_s)

    def measured_s(self) -> float:
        """Those in which it can be reached."""
        now_s = self.open_s()
        return now_s - self.outage.away_s(now_s)

    def sent(self) -> None:
        """A request is on its way."""
        self.pause.sent()
        self.on_the_way += 1
        self.own = Own(max(self.own.most, self.on_the_way), perf_counter())

    def ended(self) -> None:
        """It has ended."""
        self.on_the_way -= 1
        self.own = Own(self.own.most, perf_counter())
        self.pause.ended(perf_counter())


async def met_outage(sample: Sample, target: Target) -> bool:
    """No connection could be made; or one that was made broke, and nobody takes another."""
    if sample.excuse is not None:
        return sample.excuse.kind == "unreached"
    return sample.error in {CONNECTION, CUT_STREAM} and not await is_reachable(target.url)
