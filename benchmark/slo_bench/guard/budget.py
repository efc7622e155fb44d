"""Money as it is spent: what is known, what is on its way, and what hours of GPU cost. No clock of its own.

    spent      requests that have ended, by their usage, and GPU time until now
    reserved   requests on their way, each at the most that it can cost, and for each GPU the time of one more request
    spent + reserved + the next request at its most ≤ limit, else the next request is not sent

So the limit is never passed, as long as a provider charges no more than the tokens that it reports at the configured
prices. A deployment without a price cannot be counted: `uncounted` names those that were measured all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from slo_bench.errors import StoppedError
from slo_bench.guard.money import SECONDS_PER_HOUR

Clock = Callable[[], float]  # seconds


class _Gpu(NamedTuple):
    usd_per_s: float
    clock: Clock
    since_s: float

    def usd(self) -> float:
        return self.usd_per_s * (self.clock() - self.since_s)


class Budget:
    """The money of one run. `limit_usd` is `None` where there is no limit; a request takes at most `longest_s`."""

    def __init__(self, limit_usd: float | None, longest_s: float) -> None:
        self.limit_usd = limit_usd
        self.uncounted: set[str] = set()
        self._longest_s = longest_s
        self._ended_usd = 0.0
        self._reserved_usd = 0.0
        self._gpus: dict[str, _Gpu] = {}

    @property
    def spent_usd(self) -> float:
        """What has been spent until now."""
        return self._ended_usd + sum(gpu.usd() for gpu in self._gpus.values())

    def reserve(self, most_usd: float | None, deployment_id: str) -> None:
        """Before a request is sent. Raises StoppedError where it may pass the limit."""
        if most_usd is None:
            self.uncounted.add(deployment_id)
            return
        spent_usd = self.spent_usd
        reserved_usd = self._reserved_usd + sum(gpu.usd_per_s * self._longest_s for gpu in self._gpus.values())
        if self.limit_usd is not None and spent_usd + reserved_usd + most_usd > self.limit_usd:
            raise StoppedError(
                f"the budget is used up: of {self.limit_usd:g} USD {spent_usd:.4g} are spent, {reserved_usd:.4g} are "
                f"reserved for requests under way, and the next one may cost {most_usd:.4g}"
            )
        self._reserved_usd += most_usd

    def settle(self, most_usd: float | None, charged_usd: float | None) -> None:
        """After a request has ended; `most_usd` is what was reserved for it."""
        self._reserved_usd -= most_usd or 0.0
        self._ended_usd += charged_usd or 0.0

    def gpu_began(self, deployment_id: str, usd_per_hour: float, clock: Clock) -> None:
        """From now on the deployment's time, by `clock`, is the agent's."""
        self._gpus[deployment_id] = _Gpu(usd_per_hour / SECONDS_PER_HOUR, clock, clock())

    def gpu_ended(self, deployment_id: str) -> None:
        """It no longer is."""
        if deployment_id in self._gpus:
            self._ended_usd += self._gpus.pop(deployment_id).usd()
