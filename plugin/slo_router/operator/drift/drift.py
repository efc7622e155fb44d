"""What has changed of late, for people: the mix of a group's tasks, and qualities that fell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from slo_router.contract.ages import DAY_S
from slo_router.contract.model import Snapshot
from slo_router.operator.drift.mix import Mix, MixChange
from slo_router.quality.judging import Judged
from slo_router.quality.posterior import Fall

SHOWN_S = 30 * DAY_S  # a fall is shown for this long


@dataclass(frozen=True, slots=True)
class Fell:
    """A quality that fell. `fall` is `None` where the benchmark's gate says so: then no floor is passed."""

    deployment: str
    category: str
    fall: Fall | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Everything that changed."""

    mix: tuple[MixChange, ...] = ()
    falls: tuple[Fell, ...] = ()

    def lines(self) -> list[str]:
        """The changes in words."""
        return [*map(_mix_in_words, self.mix), *map(_fall_in_words, self.falls)]


NO_DRIFT = Drift()


def drift_of(mix: Mix, judged: Judged, snapshot: Snapshot, now_s: float) -> Drift:
    """The changes in the requests of `mix`, and in the believed and measured qualities; `now_s` is Unix seconds."""
    return Drift(mix.changes(), tuple(_falls(judged, snapshot, now_s)))


def _falls(judged: Judged, snapshot: Snapshot, now_s: float) -> Iterator[Fell]:
    for name, rows in sorted(snapshot.measured.items()):
        yield from (Fell(name, category, None) for category, row in sorted(rows.items()) if row.quality_held)
    for name, beliefs in sorted(judged.items()):
        for category, belief in sorted(beliefs.items()):
            if belief.fall is not None and now_s - belief.fall.at_s < SHOWN_S:
                yield Fell(name, category, belief.fall)


def _mix_in_words(one: MixChange) -> str:
    shares = ", ".join(f"{each.category} {each.before:.1%} to {each.after:.1%}" for each in one.changes)
    return (
        f"{one.group}: the last {one.requests:,} requests have another mix of tasks than those before, by more than "
        f"chance: {shares}"
    )


def _fall_in_words(one: Fell) -> str:
    where, fall = f"{one.deployment}, {one.category}", one.fall
    if fall is None:
        return (
            f"{where}: the benchmark's score dropped, so no quality floor is passed until slo-bench quality clears it"
        )
    day = time.strftime("%Y-%m-%d", time.gmtime(fall.at_s))
    return f"{where}: quality fell about {day}, from {fall.before:.2f} to {fall.after:.2f} ({fall.sureness:.0%} sure)"
