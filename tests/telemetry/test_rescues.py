"""Metrics count what became of silent attempts, and sum what rescues saved and cost."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from slo_router.contract.record import TryRecord
from slo_router.telemetry.telemetry import Telemetry
from tests.telemetry.test_telemetry import GROUPS, STARTED_S, record

TRIES = [
    TryRecord(deployment="small", sent_ms=0, deadline_ms=900, first_token_ms=None, ended_ms=1_000, ending="silent"),
    TryRecord(deployment="large", sent_ms=1_001, deadline_ms=None, first_token_ms=1_250, ended_ms=2_000, ending="ok"),
]


def test_silent_attempts_are_counted_by_what_became_of_them() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(GROUPS, registry, STARTED_S)
    for reason in ("rescue", "rescue", "budget"):
        telemetry.rescues.silent("smart", "small", reason)
    telemetry.rescues.ended("smart", record())
    telemetry.rescues.ended("smart", record(tries=TRIES, rescued="deadline", rescue_cost_usd=0.002))
    telemetry.rescues.ended("smart", record(tries=TRIES, rescue_cost_usd=0.002))  # the rescue failed

    labels = {"group": "smart", "deployment": "small"}
    counted = {
        reason: registry.get_sample_value("slo_router_silent_total", {**labels, "reason": reason})
        for reason in ("rescue", "budget", "slow")
    }
    assert counted == {"rescue": 2, "budget": 1, "slow": None}
    assert registry.get_sample_value("slo_router_rescue_saved_seconds_total", {"group": "smart"}) == pytest.approx(0.75)
    assert registry.get_sample_value("slo_router_rescue_cost_usd_total", labels) == pytest.approx(0.004)
