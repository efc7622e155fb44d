"""Which request an endpoint fails, and how; and which one is beyond its rate limit."""

import time
from collections.abc import Callable

from .spec import EndpointSpec, Fault


class FaultSwitch:
    """The fault in force, and what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.set(fault)

    def set(self, fault: Fault) -> None:
        """From the next request on, fail like this."""
        self.fault = fault
        self._left = fault.times
        self._reused = 0

    def take(self, *, reused: bool) -> Fault:
        """The fault of the request at hand; `reused` says whether its connection carried one before."""
        fault = self.fault
        if reused and fault.drop_keepalive_every is not None:
            self._reused += 1
            if self._reused % fault.drop_keepalive_every == 0:
                return Fault(fault="drop")
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.fault, self._left = Fault(drop_keepalive_every=fault.drop_keepalive_every), None
        return fault


class Allowance:
    """What the rate limit still lets pass: a bucket of `burst` requests that fills at the limit's rate."""

    def __init__(self, spec: EndpointSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._spec = spec
        self._clock = clock
        self._left, self._at_s = float(spec.burst), clock()

    def wait_s(self) -> float | None:
        """Takes a request: `None` where it may pass, else the seconds after which one could."""
        if self.lets_pass():
            self._left -= 1
            return None
        return (1 - self._left) * 60 / (self._spec.per_minute or 1)

    def lets_pass(self) -> bool:
        """Whether a request may pass now."""
        if self._spec.per_minute is None:
            return True
        now_s = self._clock()
        grown = self._left + max(now_s - self._at_s, 0.0) * self._spec.per_minute / 60
        self._left, self._at_s = min(self._spec.burst, grown), now_s
        return self._left >= 1
