"""One worker of a proxy in trouble, for tests of dashboards and alerts: `python -m tests.e2e.telemetry_worker`.

It makes decisions and finishes requests until it is ended, so that every panel has data and every alert a reason.
Nearly all requests go to the large deployment, are slow, miss their SLO and are dear. A circuit is open, an account
refuses everything, silent attempts are rescued until the budget is used up, decisions fail, and records are lost. The
job that writes records is stuck, and Redis has not been read for ten minutes.
"""

from __future__ import annotations

import itertools
import time

from prometheus_client import REGISTRY

from slo_router.contract.model import Limits, Metrics, Rejection, Snapshot
from slo_router.contract.record import TryRecord
from slo_router.live.account import Account
from slo_router.live.circuit import Circuit
from slo_router.live.live import Live
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.tasks.jobs import Standing
from tests.telemetry.test_telemetry import FACTS, GROUPS, LARGE, SMALL, decided, record

REQUESTS_PER_S = 100
POOR = (Rejection("small", "quality", 0.7, 0.8),)
RESCUED = [
    TryRecord(deployment="small", sent_ms=0, deadline_ms=400, first_token_ms=None, ended_ms=400, ending="silent"),
    TryRecord(deployment="large", sent_ms=400, deadline_ms=None, first_token_ms=500, ended_ms=900, ending="success"),
]


def serve_until_ended() -> None:
    """One request in twenty goes to the small deployment and keeps its SLO; one in thirty is not routed."""
    telemetry, live, began_s = (
        Telemetry(GROUPS, REGISTRY, time.time(), label_teams=20, label_keys=20),
        Live(),
        time.time(),
    )
    live.dispatched("large", began_s)
    live.heard_of_foreign("large", 2, 0.5)
    live.states["large"].circuit = Circuit(failures=3, is_open=True, changed_at_s=began_s)
    live.allow("large", Limits(rpm=60))
    live.state("small").account = Account(is_shut=True, changed_at_s=began_s, pause_s=60.0)
    snapshot = Snapshot({}, {"large": Metrics(began_s - 3_600)}, read_at_s=began_s - 600)
    for number in itertools.count(1):
        to_small = number % 20 == 0
        decision = decided(SMALL, LARGE) if to_small else decided(LARGE, SMALL, rejections=POOR)
        if number % 3 == 0:
            decision = decision._replace(kind="fallback")
        decision = decision._replace(cost_interval_usd=(0.5, 1.5 if to_small else 0.9), worth_usd=0.01)
        made = record(
            deployment=decision.deployment_id,
            ttft_ms=300.0 if to_small else 1_500.0,
            e2e_ms=2_000.0 if to_small else 15_000.0,
            slo_met=None if number % 25 == 0 else to_small,
            cost_usd=1.0,
            cached_tokens=100,
            team_id=f"team-{number % 3}",
            tries=None if to_small else RESCUED,
            rescued=None if to_small else "deadline",
            rescue_cost_usd=None if to_small else 0.1,
        )
        telemetry.rescues.ended("smart", made)
        telemetry.rescues.silent("smart", "small", "budget")
        telemetry.compared("smart", "worse")
        telemetry.decided("smart", decision, took_s=80e-6)
        telemetry.observe("smart", made, None if number % 30 == 0 else decision, FACTS)
        jobs = {"records": Standing(began_s - 600, failures=number)}
        telemetry.refresh(snapshot, live.states, fail_open=number, unasked=number, log_dropped=number, jobs=jobs)
        time.sleep(1 / REQUESTS_PER_S)


if __name__ == "__main__":
    serve_until_ended()
