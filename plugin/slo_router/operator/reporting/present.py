"""What is known of each deployment now, in one row: load, circuit, expected latency, evidence, recent share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from slo_router.contract.model import Snapshot
from slo_router.contract.units import MS_PER_S
from slo_router.latency.curve import P95, tpot_s, ttft_s
from slo_router.live.circuit import Circuit, share
from slo_router.live.quota import headroom
from slo_router.live.state import LiveState
from slo_router.operator.reporting.tally import Tallies, Tally

TYPICAL_PROMPT_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment now. Latencies are for a prompt of 1,000 tokens at the present load."""

    name: str
    group: str
    in_flight: float
    circuit: str
    quota_left: float | None  # of the tightest limit, 0..1; `None`: none is known
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tpot_ms: float | None
    live_samples: float
    live_age_s: float | None
    benchmarked: dict[str, float]  # category → age in seconds
    recent_share: float | None
    recent_attainment: float | None
    shadow_usd_per_s: float = 0.0  # what a second's stay is worth to others; above 0 where places are scarce


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `slo-router status` says."""

    policy: str  # in force
    workers: int
    stream_length: int
    recent: int
    recent_attainment: float | None
    last_record_age_s: float | None
    dropped_values: int
    deployments: tuple[Deployment, ...]
    off: tuple[str, ...] = ()  # groups that LiteLLM routes by itself
    notes: tuple[str, ...] = ()  # where the policy in force is not the YAML's


class Seen(NamedTuple):
    """What there is to look at: the benchmark's part, the workers', the latest records. `now_s` is Unix seconds."""

    snapshot: Snapshot
    states: Mapping[str, LiveState]
    latest: Tallies
    now_s: float


def describe(name: str, group: str, seen: Seen) -> Deployment:
    """One deployment's row."""
    state, tally = seen.states.get(name, LiveState()), seen.latest.deployments.get(name)
    curve, in_flight = state.curve, state.in_flight
    first_s = None if curve is None else ttft_s(curve, TYPICAL_PROMPT_TOKENS, in_flight)
    measured = seen.snapshot.measured.get(name, {})
    return Deployment(
        name=name,
        group=group,
        in_flight=in_flight,
        circuit=state_in_words(state, seen.now_s),
        quota_left=None if state.quota is None else headroom(state.quota, seen.now_s),
        ttft_p50_ms=None if first_s is None else first_s * MS_PER_S,
        ttft_p95_ms=None if first_s is None or curve is None else first_s * curve.ttft_ratios[P95] * MS_PER_S,
        tpot_ms=None if curve is None else tpot_s(curve, in_flight) * MS_PER_S,
        live_samples=0.0 if curve is None else curve.weight,
        live_age_s=None if curve is None or not curve.measured_at_s else seen.now_s - curve.measured_at_s,
        benchmarked={category: seen.now_s - metrics.measured_at_s for category, metrics in sorted(measured.items())},
        recent_share=None if tally is None else tally.requests / seen.latest.total.requests,
        recent_attainment=None if tally is None else attained(tally),
        shadow_usd_per_s=state.shadow_usd_per_s,
    )


def attained(tally: Tally) -> float | None:
    """Met ÷ judged."""
    judged = tally.met + tally.missed
    return tally.met / judged if judged else None


def state_in_words(state: LiveState, now_s: float) -> str:
    """Whether it gets traffic, and why not."""
    if state.account.is_shut:
        since_s = max(now_s - (state.account.changed_at_s or now_s), 0.0)
        return f"refuses everything, asked {since_s:.0f} s ago: its account, its key, or its model's name"
    if not state.circuit.is_open and state.quota is not None and state.quota.until_s > now_s:
        return f"full for {state.quota.until_s - now_s:.0f} s more"
    said = circuit_in_words(state.circuit, now_s)
    return f"{said}, scarce: ${state.shadow_usd_per_s:.2g}/s" if state.shadow_usd_per_s else said


def circuit_in_words(circuit: Circuit, now_s: float) -> str:
    """Closed, open since when, or how much it lets through."""
    if circuit.is_open:
        return f"open for {max(now_s - (circuit.changed_at_s or now_s), 0.0):.0f} s"
    part = share(circuit, now_s)
    return "closed" if part >= 1 else f"letting {part:.0%} through"
