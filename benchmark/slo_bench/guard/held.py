"""A deployment that is being measured: its pauses, its outages, our requests in flight, and its clocks.

A pause: live traffic uses the deployment.

    open ──(more than `above` live requests)──→ closed ──(no longer)──→ open
                                                  └──(closed for `most_s` in total)──→ over: StoppedError

While it is closed, no request is sent. Once the requests in flight have ended, time does not count.

An outage: a deployment that answered before cannot be reached, mostly because of a restart. Requests that met the
outage are sent again after it. Its seconds do not count. A long outage ends the measurement.

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
    """The pauses of one deployment: more than `above` live requests, for at most `most_s`. Seconds on one clock."""

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
        """Whether no request may be sent now."""
        return self._closed_since_s is not None

    def heard(self, live: float, now_s: float) -> None:
        """Notes that there are `live` requests of other clients now."""
        self.live = live
        if live > self._above and not self.is_closed:
            self._closed_since_s = now_s
            self._idle_since_s = None if self._on_the_way else now_s
        elif live <= self._above and self._closed_since_s is not None:
            self._closed_s += now_s - self._closed_since_s
            self._idle_s = self.paused_s(now_s)
            self._closed_since_s = self._idle_since_s = None

    def sent(self) -> None:
        """Notes that the agent sent a request."""
        self._on_the_way += 1

    def ended(self, now_s: float) -> None:
        """Notes that a request of the agent ended."""
        self._on_the_way -= 1
        if self.is_closed and not self._on_the_way:
            self._idle_since_s = now_s

    def paused_s(self, now_s: float) -> float:
        """Seconds of all pauses until now, without the time in which a request of the agent was in flight."""
        return self._idle_s + (0.0 if self._idle_since_s is None else now_s - self._idle_since_s)

    def check(self, now_s: float) -> None:
        """Raises StoppedError if live traffic has used the deployment for too long."""
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
        """Notes that a request did not reach the deployment. Returns whether an outage begins."""
        if self._since_s is not None:
            return False
        self._since_s = now_s
        return True

    def reached(self, sent_s: float) -> float | None:
        """Notes that a request sent at `sent_s` reached the deployment. Returns the seconds of the outage it ended."""
        if self._since_s is None or sent_s <= self._since_s:
            return None
        lasted_s, self._since_s = sent_s - self._since_s, None
        self._ended_s += lasted_s
        return lasted_s

    def away_s(self, now_s: float) -> float:
        """Seconds of all outages until now."""
        return self._ended_s + (0.0 if self._since_s is None else now_s - self._since_s)


class Own(NamedTuple):
    """The agent's requests at a deployment: the most at once, and when one was last in flight (seconds)."""

    most: int
    last_s: float


@dataclass(slots=True)
class Held:
    """The state of a deployment while its lock is held."""

    facts: Facts
    pause: Pause
    outage: Outage = field(default_factory=Outage)
    on_the_way: int = 0
    own: Own = field(default=Own(0, 0.0))

    def open_s(self) -> float:
        """Seconds, without those of pauses."""
        now_s = perf_counter()
        return now_s - self.pause.paused_s(now_s)

    def measured_s(self) -> float:
        """Seconds, without those of pauses and outages."""
        now_s = self.open_s()
        return now_s - self.outage.away_s(now_s)

    def sent(self) -> None:
        """Notes that a request was sent."""
        self.pause.sent()
        self.on_the_way += 1
        self.own = Own(max(self.own.most, self.on_the_way), perf_counter())

    def ended(self) -> None:
        """Notes that a request ended."""
        self.on_the_way -= 1
        self.own = Own(self.own.most, perf_counter())
        self.pause.ended(perf_counter())


async def met_outage(sample: Sample, target: Target) -> bool:
    """Whether an outage ended the request: no connection was made, or it broke and the server takes no new one."""
    if sample.excuse is not None:
        return sample.excuse.kind == "unreached"
    return sample.error in {CONNECTION, CUT_STREAM} and not await is_reachable(target.url)
