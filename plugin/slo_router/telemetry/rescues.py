"""The metrics of requests that waited for their first content: what became of them, what that saved and cost."""

from __future__ import annotations

from collections.abc import Callable

from slo_router.contract.record import RequestRecord
from slo_router.rescue.saving import saved_s
from slo_router.telemetry.families import Families


class RescueMetrics:
    """The rescue metrics of one worker; `label_of` gives a deployment's label."""

    def __init__(self, families: Families, label_of: Callable[[str], str]) -> None:
        self._label_of = label_of
        self._silent = families.counter(
            "slo_router_silent_total",
            "Attempts without content at their deadline, by what became of them: rescue (given up for another), or why "
            "not: slow (so are the others), budget (it is used up), alone (nobody else can answer)",
            ("group", "deployment", "reason"),
        )
        self._saved_s = families.counter(
            "slo_router_rescue_saved_seconds_total",
            "Of rescued requests: what a silent one would have taken on, if as long again, less what the other took",
            ("group",),
        )
        self._cost_usd = families.counter(
            "slo_router_rescue_cost_usd_total",
            "USD that deployments which were given up are expected to bill for the prompt, in no other sum of money",
            ("group", "deployment"),
        )

    def silent(self, group: str, deployment_id: str, reason: str) -> None:
        """Counts an attempt without content at its deadline; `reason` is what became of it."""
        self._silent[group, self._label_of(deployment_id), reason].inc()

    def ended(self, group: str, record: RequestRecord) -> None:
        """Counts what the rescue of a finished request saved and cost."""
        if record.tries is None:
            return
        for one in record.tries:
            if one.ending == "silent":
                self._cost_usd[group, self._label_of(one.deployment)].inc(record.rescue_cost_usd or 0.0)
        if record.rescued:
            self._saved_s[group,].inc(saved_s(record.tries))
