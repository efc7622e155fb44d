"""The endpoints and what happens to them, with streamed chats as the reference, and with traffic of all kinds.

Four deployments of three models differ in speed and price. `swift` serves the same model as `medium` on faster hardware
at twice the price. In steady state a quarter of the capacity is used, so that a fourfold burst fills it.

`stalls` holds the first token of 3 % of an endpoint's requests for 5 s; in `slow-start` one endpoint begins cold. In
these scenarios, and where rescue could do harm, ours takes part twice: without and with rescue.

Each seed's fault hits another endpoint, so that no policy looks good because it never uses the endpoint that fails. A
fault or a burst lasts from START_S to END_S. A run is judged from START_S until RECOVERY_S after END_S, also without a
fault. The cold start is judged from its first request on.

In the `tight` scenarios there is no `swift`, `medium` has 20 slots, and only `small` fails. During the fault or a
burst, `medium` fills with requests that could pay for `large`. Requests that cannot pay for it wait behind them. In
the `swept` scenarios the benchmark knows how many requests each endpoint serves at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.shared.traffic import Habits, RateLimit, mixed, steady
from evaluation.simulator.endpoint import Fault, Outcome, Spec
from evaluation.simulator.workload import Draw, Rate, Size, generate
from slo_router.contract.model import KNEES, LatencyFit, Metrics

PER_S = 6.0
START_S, END_S, RECOVERY_S = 60.0, 120.0, 30.0
STEADY = Rate(PER_S)
BENCHMARK_CALLS = 200
MILLION = 1e-6
_QUALITY = {
    "small": {"chat": 0.75, "ner": 0.80, "summarization": 0.72, "code": 0.50, "reasoning": 0.45},
    "medium": {"chat": 0.84, "ner": 0.86, "summarization": 0.82, "code": 0.72, "reasoning": 0.68},
    "large": {"chat": 0.92, "ner": 0.92, "summarization": 0.90, "code": 0.90, "reasoning": 0.88},
}
SPECS = (
    Spec("small", 0.04, 40e-6, 0.008, 32, 0.1 * MILLION, 0.4 * MILLION, _QUALITY["small"]),
    Spec("medium", 0.06, 60e-6, 0.012, 32, 0.4 * MILLION, 1.6 * MILLION, _QUALITY["medium"]),
    Spec("swift", 0.03, 20e-6, 0.005, 32, 0.8 * MILLION, 3.2 * MILLION, _QUALITY["medium"]),
    Spec("large", 0.12, 100e-6, 0.020, 48, 2.5 * MILLION, 10.0 * MILLION, _QUALITY["large"]),
)


# The fleet for mixed traffic. Verbosities are those of Llama-3.1-8B-Instruct, gemma-2-27b-it and Claude 3.5 Sonnet, as
# `evaluation.routing.models` finds them. `thinker` has medium's quality at half its price per token, and writes five
# times as much.
SMALL, MEDIUM, LARGE = (Habits(verbosity=factor, wobble=0.5) for factor in (2.24, 1.0, 0.91))
THINKER = Habits(verbosity=5.0, wobble=0.5)
LIMITS = RateLimit(30, 10, retry_after_s=2), RateLimit(30, 10)  # with and without Retry-After
_small, _medium, _swift, _large = SPECS
MIXED_SPECS = (
    replace(_small, habits=SMALL, context_tokens=8_192),
    replace(_small, name="small-limited", model="small", habits=SMALL, context_tokens=8_192),
    replace(_medium, habits=MEDIUM, context_tokens=32_768),
    replace(
        _medium, name="medium-new", model="medium", habits=MEDIUM._replace(is_measured=False), context_tokens=32_768
    ),
    replace(_swift, model="medium", habits=MEDIUM, context_tokens=32_768),
    Spec("thinker", 0.06, 60e-6, 0.010, 32, 0.2 * MILLION, 0.8 * MILLION, _QUALITY["medium"], habits=THINKER),
    replace(_large, habits=LARGE),
)
TIGHT_SPECS = (_small, replace(_medium, slots=20), _large)
TIGHT_PER_S = 3.5  # even a fourfold burst leaves room for requests that only medium can serve
REFUSALS: tuple[Outcome, ...] = ("unclear", "denied", "forbidden")  # HTTP 400, 402, 403: all say "out of credit"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: its traffic, its endpoints and its fault."""

    name: str
    rate: Rate = STEADY
    fault: Fault | None = None  # of one endpoint
    unmeasured: frozenset[str] = frozenset()  # deployments without a benchmark
    judged_from_s: float = START_S
    duration_s: float = END_S + RECOVERY_S
    draw: Draw = steady
    fleet: Sequence[Spec] = SPECS  # used for streamed chats; mixed traffic uses MIXED_SPECS
    victim: str = ""  # the endpoint with the fault; empty: another one with each seed
    is_swept: bool = False  # the benchmark includes a sweep under load
    has_rescue: bool = False  # ours takes part a second time, with rescue

    @property
    def is_tight(self) -> bool:
        """Whether slots are scarce, so that planning ahead pays."""
        return self.fleet is TIGHT_SPECS

    def specs(self, seed: int) -> Sequence[Spec]:
        """The endpoints that serve the requests."""
        if self.draw is steady:
            return self.fleet
        limit = LIMITS[seed % len(LIMITS)]
        return [
            replace(one, habits=one.habits._replace(limit=limit)) if one.name == "small-limited" else one
            for one in MIXED_SPECS
        ]

    def faults(self, seed: int) -> dict[str, Fault]:
        """The fault of each endpoint that has one."""
        if self.fault is None:
            return {}
        specs = self.specs(seed)
        victim = self.victim or specs[seed % len(specs)].name
        return {victim: self.fault._replace(refusal=REFUSALS[seed % len(REFUSALS)])}


SCENARIOS = (
    Scenario("steady", has_rescue=True),
    Scenario("burst", rate=Rate(PER_S, 4.0, START_S, END_S), has_rescue=True),
    Scenario("slowdown", fault=Fault("slow", START_S, END_S, 6.0)),
    Scenario("outage", fault=Fault("error", START_S, END_S)),
    Scenario("hang", fault=Fault("hang", START_S, END_S), has_rescue=True),
    Scenario("stalls", fault=Fault("stall", START_S, END_S, share=0.03, stall_s=5.0), has_rescue=True),
    Scenario("slow-start", fault=Fault("warming", START_S, END_S, 6.0), has_rescue=True),
    Scenario("cold-start", unmeasured=frozenset({"medium"}), judged_from_s=0.0),
    Scenario("tight", fleet=TIGHT_SPECS),
    Scenario("tight-burst", rate=Rate(TIGHT_PER_S, 4.0, START_S, END_S), fleet=TIGHT_SPECS),
    Scenario("tight-outage", fault=Fault("error", START_S, END_S), fleet=TIGHT_SPECS, victim="small"),
    Scenario("tight-hang", fault=Fault("hang", START_S, END_S), fleet=TIGHT_SPECS, victim="small"),
    Scenario("swept-burst", rate=Rate(TIGHT_PER_S, 4.0, START_S, END_S), fleet=TIGHT_SPECS, is_swept=True),
    Scenario("swept-outage", fault=Fault("error", START_S, END_S), fleet=TIGHT_SPECS, victim="small", is_swept=True),
    Scenario("mixed", draw=mixed),
    Scenario("mixed-burst", rate=Rate(PER_S, 4.0, START_S, END_S), draw=mixed),
    Scenario("mixed-slowdown", fault=Fault("slow", START_S, END_S, 6.0), draw=mixed),
    Scenario("mixed-credit", fault=Fault("credit", START_S, END_S), draw=mixed),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def benchmark(trace: Sequence[Size] | None, scenario: Scenario, seed: int) -> dict[str, Metrics]:
    """What a benchmark of single requests measures of each endpoint before the run, by name."""
    specs = scenario.specs(seed)
    requests = generate(trace, Rate(1.0), float(BENCHMARK_CALLS), specs, seed)
    found: dict[str, Metrics] = {}
    for i, spec in enumerate(specs):
        if spec.name in scenario.unmeasured or not spec.habits.is_measured:
            continue
        noise = [request.noise[i] for request in requests]
        ttft_s = [
            spec.overhead_s * n.overhead + r.prompt_tokens * spec.prefill_s_per_token * n.prefill
            for r, n in zip(requests, noise, strict=True)
        ]
        tpot_s = [spec.tpot_s * n.decode for n in noise]
        found[spec.name] = Metrics(
            measured_at_s=0.0,
            ttft_s=statistics.fmean(ttft_s),
            ttft_p50_s=statistics.median(ttft_s),
            ttft_p95_s=_p95(ttft_s),
            tpot_s=statistics.fmean(tpot_s),
            tpot_p95_s=_p95(tpot_s),
            error_rate=0.0,
            samples=len(requests),
            fit=sweep(spec, statistics.fmean(request.answers[i] for request in requests))
            if scenario.is_swept
            else None,
        )
    return found


def sweep(spec: Spec, answer_tokens: float) -> LatencyFit:
    """What a sweep over loads finds of an endpoint: the nearest knee, and how fast slots get free beyond it."""
    full_s = spec.tpot_s * (1 + spec.tpot_growth * (spec.slots - 1))
    return LatencyFit(
        measured_at_s=0.0,
        a_s=spec.overhead_s,
        b_s_per_token=spec.prefill_s_per_token,
        c_s_per_request=0.0,
        k_s_per_request=answer_tokens * full_s / spec.slots,
        knee=min(KNEES, key=lambda knee: abs(knee - spec.slots)),
        d_s=spec.tpot_s,
        e_s_per_request=spec.tpot_s * spec.tpot_growth,
        ttft_p95_ratio=1 + 3 * spec.sigma,
        tpot_p95_ratio=1 + 2 * spec.sigma,
        ttft_error=spec.sigma,
        tpot_error=spec.sigma,
        ttft_r2=0.9,
        tpot_r2=0.9,
        samples=BENCHMARK_CALLS,
        tokens_min=0.0,
        tokens_max=float(spec.context_tokens),
        load_max=2.0 * spec.slots,
    )


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
