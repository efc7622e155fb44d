"""Judges a request's measurements by another SLO than its own."""

from __future__ import annotations

from msgspec.structs import replace

from slo_router.contract.model import Slo
from slo_router.contract.units import to_s
from slo_router.operator.replay.recorded import Recorded
from slo_router.worker.records import slo_met


def judge(record: Recorded, slo: Slo, quality: float | None) -> bool | None:
    """Whether the measurements keep the SLO; `None` where a field of the SLO was not measured."""
    tokens = (record.prompt_tokens or 0) + (record.completion_tokens or 0)
    per_1k_usd = None if record.cost_usd is None or not tokens else record.cost_usd * 1_000 / tokens
    times = (record.ttft_ms, record.tpot_ms, record.e2e_ms)
    ttft_s, tpot_s, e2e_s = map(to_s, times)
    return slo_met(slo, Slo(ttft_s, tpot_s, e2e_s, per_1k_usd, quality), record.outcome)


def latencies_of(slo: Slo) -> Slo:
    """The SLO's latency limits alone. Cost and quality are known without an answer."""
    return slo._replace(cost_per_1k_usd=None, min_quality=None)


def breaks_the_rest(record: Recorded, slo: Slo, cost_usd: float | None, quality: float | None) -> bool:
    """Whether another deployment with this cost and quality breaks the SLO, whatever its latency."""
    elsewhere = replace(record, outcome="success", cost_usd=cost_usd, ttft_ms=None, tpot_ms=None, e2e_ms=None)
    return judge(elsewhere, slo, quality) is False
