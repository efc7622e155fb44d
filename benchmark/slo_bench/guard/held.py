"""A deployment that is being measured: its pauses and outages, our requests on their way, and the clocks they stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from slo_bench.guard.outage import Outage
from slo_bench.guard.pause import Pause
from slo_bench.guard.watch import Own
from slo_bench.measure.connecting import is_reachable
from slo_bench.measure.stream import CONNECTION, CUT_STREAM, Sample
from slo_bench.measure.targets import Target
from slo_router.contract.model import Facts


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
