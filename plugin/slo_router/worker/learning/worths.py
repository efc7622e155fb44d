"""How much each group with the objective `value` pays for quality, learned from the options that its requests had.

A worker keeps the options of its last `WINDOW` requests of a group. In the background it finds the worth with which
they would just keep the group's target. It moves its own worth towards that, by a factor of at most `STEP` in each
refresh interval, so that one odd minute changes little. The first worth is that of the other workers, else the first
that is found, after `ENOUGH` requests. Until then a target for quality takes the best model, and a target in USD the
cheapest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Mapping

from slo_router.contract.model import Assessment, Decision
from slo_router.contract.settings.group import GroupSettings, Target
from slo_router.decision.prediction import Rng
from slo_router.quality.worth import (
    LEAST_USD,
    MOST_USD,
    Option,
    Options,
    Step,
    for_request,
    steps,
    worth_for_quality,
    worth_for_spend,
)
from slo_router.worker.learning.spending import Spending

WINDOW = 500  # requests
ENOUGH = 30
STEP = 1.1
AT_ONCE = 50  # requests whose steps are worked out without a pause
BEYOND = 2.0  # a worth is at most so many times the highest step, and at least the lowest step ÷ this


class Worth:
    """The worth of one group: USD for a quality of 1 on one request."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.own: float | None = None
        self.heard: float | None = None
        self._seen: deque[Options] = deque(maxlen=WINDOW)  # not looked at yet
        self._kept: deque[tuple[Options, tuple[Step, ...]]] = deque(maxlen=WINDOW)

    @property
    def usd(self) -> float:
        """The worth that counts now."""
        return self.own or self.heard or (LEAST_USD if self.target.quality_of_best is None else MOST_USD)

    def see(self, pool: Iterable[Assessment], chosen: Assessment) -> None:
        """Notes what a request could have got. Leaves out options of unknown quality or cost."""
        options = [
            Option(one.deployment_id, one.prediction.quality, one.prediction.cost_usd)
            for one in pool
            if one.standing is chosen.standing
            and one.prediction.quality is not None
            and one.prediction.cost_usd is not None
        ]
        self.offer(options)

    def offer(self, options: Options) -> None:
        """Notes the options of a request. A request without options is left out."""
        if options:
            self._seen.append(options)

    def refit(self, each_usd: float | None) -> Generator[None, None, None]:
        """Moves the worth towards what the target asks for. With a target in USD a request may cost `each_usd`."""
        while self._seen:
            for _ in range(min(len(self._seen), AT_ONCE)):
                options = self._seen.popleft()
                self._kept.append((options, tuple(steps(options))))
            yield
        ladder = sorted(step for _, found in self._kept for step in found)
        if len(self._kept) < ENOUGH or not ladder:
            return
        requests, share = [options for options, _ in self._kept], self.target.quality_of_best
        if share is not None:
            wanted = worth_for_quality(requests, ladder, share)
        else:
            wanted = worth_for_spend(requests, ladder, each_usd or 0.0)
        before, lowest, highest = self.own or self.heard, ladder[0].worth_usd / BEYOND, ladder[-1].worth_usd * BEYOND
        if before is not None:
            lowest, highest = max(lowest, before / STEP), min(highest, before * STEP)
        self.own = max(min(max(wanted, lowest), highest), LEAST_USD)


class Worths:
    """The worths of one worker, by group."""

    def __init__(self, prefix: str) -> None:
        self.spending = Spending(prefix)
        self._groups: dict[str, Worth] = {}

    def adopt(self, groups: Mapping[str, GroupSettings]) -> None:
        """Takes these settings. A group whose target stays the same keeps its worth."""
        targets = {name: group.target for name, group in groups.items() if group.target is not None}
        kept = {name: one for name, one in self._groups.items() if targets.get(name) == one.target}
        self._groups = {name: kept.get(name) or Worth(target) for name, target in targets.items()}

    def of(self, group: str, rng: Rng) -> float | None:
        """The worth for one request, USD; `None` where the group has another objective."""
        found = self._groups.get(group)
        return None if found is None else for_request(found.usd, rng.random())

    def see(self, group: str, decision: Decision) -> None:
        """Learns from a decision."""
        found, chosen = self._groups.get(group), decision.selected
        if found is not None and chosen is not None:
            rejected = {rejection.deployment_id for rejection in decision.rejections}
            found.see((one for one in decision.assessments if one.deployment_id not in rejected), chosen)

    def spent(self, group: str, usd: float | None, at_s: float) -> None:
        """A request ended. It cost `usd`, `None` where that is unknown."""
        if group in self._groups:
            self.spending.spent(group, usd, at_s)

    @property
    def is_limited(self) -> bool:
        """Whether a group has a target in USD. If none has, it does not matter what was spent."""
        return any(one.target.usd_per_day is not None for one in self._groups.values())

    def refit(self, now_s: float) -> Generator[None, None, None]:
        """Moves each worth a little, in steps."""
        for name, one in self._groups.items():
            limit = one.target.usd_per_day
            yield from one.refit(None if limit is None else self.spending.each_usd(name, limit, now_s))

    @property
    def known(self) -> Mapping[str, float]:
        """The worths that this worker found or heard of; by group, USD."""
        return {name: found for name, one in self._groups.items() if (found := one.own or one.heard) is not None}

    def export(self) -> Mapping[str, float]:
        """This worker's own worths."""
        return {name: one.own for name, one in self._groups.items() if one.own is not None}

    def hear(self, told: Iterable[object]) -> None:
        """Takes the worths of the other workers. Ignores malformed entries."""
        logs: dict[str, list[float]] = {}
        for said in told:
            for name, usd in said.items() if isinstance(said, Mapping) else ():
                if isinstance(usd, int | float) and LEAST_USD <= usd <= MOST_USD:
                    logs.setdefault(str(name), []).append(math.log(usd))
        for name, one in self._groups.items():
            one.heard = math.exp(sum(found) / len(found)) if (found := logs.get(name)) else None
