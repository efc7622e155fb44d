"""Which request an endpoint fails, and how."""

from .spec import Fault


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
