"""One row for each deployment now: load, circuit, expected latency, evidence, recent share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.model import Snapshot
from slo_router.contract.units import MS_PER_S
from slo_router.latency.curve import P95, tpot_s, ttft_s
from slo_router.live.circuit import Circuit, share
from slo_router.live.quota import headroom
from slo_router.live.state import LiveState
from slo_router.operator.drift.drift import NO_DRIFT, Drift
from slo_router.operator.reporting.graded import GradedQuality, graded_of
from slo_router.operator.reporting.tally import Tallies, Tally
from slo_router.quality.judging import Judged

TYPICAL_PROMPT_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment now. Latencies are for a prompt of 1,000 tokens at the present load."""

    name: str
    group: str
    in_flight: float
    circuit: str
    quota_left: float | None  # of the tightest limit, 0..1; `None`: no limit is known
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tpot_ms: float | None
    live_samples: float
    live_age_s: float | None
    benchmarked: dict[str, float]  # category → age in seconds
    recent_share: float | None
    recent_attainment: float | None
    shadow_usd_per_s: float = 0.0  # value of its place to other requests; above 0 where places are scarce
    quality: dict[str, GradedQuality] = field(default_factory=dict)  # by category, where answers were graded


@dataclass(frozen=True, slots=True)
class Paired:
    """A group's shadow evaluation: USD spent today (UTC), and the comparisons that are known.

    The `control_` fields count the judge's verdicts on two answers of one deployment: the first or the second is
    better, or neither.
    """

    group: str
    judge: str | None
    grader: str | None
    spent_usd: float
    usd_per_day: float
    comparisons: float
    control_first: float
    control_second: float
    control_tie: float


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `slo-router status` shows."""

    policy: str  # the policy in force
    workers: int
    stream_length: int
    recent: int  # requests
    recent_judged: int  # of these requests; in the others a field of the SLO was not measured
    recent_attainment: float | None  # of the judged requests
    last_record_age_s: float | None
    dropped_values: int
    deployments: tuple[Deployment, ...]
    off: tuple[str, ...] = ()  # groups that are switched off: LiteLLM alone routes them
    worths_usd: dict[str, float] = field(default_factory=dict)  # of a quality of 1, by group with the objective `value`
    notes: tuple[str, ...] = ()  # differences of the policy in force from the YAML
    paired: tuple[Paired, ...] = ()  # of the groups that compare answers
    drift: Drift = NO_DRIFT


class Seen(NamedTuple):
    """The data behind a status. `now_s` is Unix seconds. `judged` is what is believed of the qualities.

    `confidences` are those of the quality's bounds, by group. `worths_usd` is what a quality of 1 is worth, by group.
    """

    snapshot: Snapshot
    states: Mapping[str, LiveState]
    latest: Tallies
    now_s: float
    judged: Judged = MappingProxyType({})
    confidences: Mapping[str, float] = MappingProxyType({})
    worths_usd: Mapping[str, float] = MappingProxyType({})


def describe(name: str, group: str, seen: Seen) -> Deployment:
    """One deployment's row."""
    state, tally = seen.states.get(name, LiveState()), seen.latest.deployments.get(name)
    curve, in_flight = state.curve, state.in_flight
    first_s = None if curve is None else ttft_s(curve, TYPICAL_PROMPT_TOKENS, in_flight, curve.hidden_tokens)
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
        quality={
            category: graded_of(belief, seen.confidences[group], seen.now_s)
            for category, belief in sorted(seen.judged.get(name, {}).items())
        },
    )


def attained(tally: Tally) -> float | None:
    """Met ÷ judged, 0..1; `None` where nothing was judged."""
    judged = tally.met + tally.missed
    return tally.met / judged if judged else None


def state_in_words(state: LiveState, now_s: float) -> str:
    """Whether a deployment gets traffic, and if not, why."""
    if state.account.is_shut:
        since_s = max(now_s - (state.account.changed_at_s or now_s), 0.0)
        return f"refuses everything, asked {since_s:.0f} s ago: its account, its key, or its model's name"
    if not state.circuit.is_open and state.quota is not None and state.quota.until_s > now_s:
        return f"full for {state.quota.until_s - now_s:.0f} s more"
    said = circuit_in_words(state.circuit, now_s)
    return f"{said}, scarce: ${state.shadow_usd_per_s:.2g}/s" if state.shadow_usd_per_s else said


def circuit_in_words(circuit: Circuit, now_s: float) -> str:
    """The circuit in words: closed, open for how long, or the share that it lets through."""
    if circuit.is_open:
        return f"open for {max(now_s - (circuit.changed_at_s or now_s), 0.0):.0f} s"
    part = share(circuit, now_s)
    return "closed" if part >= 1 else f"letting {part:.0%} through"
