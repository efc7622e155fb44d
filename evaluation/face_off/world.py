"""The world of the face-off: what there is to choose from, what is asked, and what goes wrong. Pure.

    small    on an own GPU: cheap, two slots, enough for its own class and no more        quality 0.60
    medium   on own GPUs: four times the price, eight slots                               quality 0.80
    hosted   the same model at a provider's: roomy, at twice medium's price               quality 0.80
    large    hosted on fast hardware: quick, roomy, 25 times the price, 100 for output    quality 0.95

The prices are of the order of an 8B model, a 27B model on own hardware and at a provider's, and a frontier model; the
qualities are assumed. How much of the traffic needs which is measured, by `shares`: of 2,449 prompts of ZeroEval
(WildEval/ZeroEval, Apache-2.0) that one of three models answered right Llama-3.1-8B-Instruct was enough for 65 %,
gemma-2-27b-it for 16.5 % more, and 18.5 % took Claude 3.5 Sonnet. What LiteLLM's strategies do depends on such facts,
for they look at one thing each: where the large one is slow instead, latency-based routing stays on the medium one,
which keeps the contracts of four requests in five by being in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from evaluation.endpoints import EndpointSpec, FaultKind

GROUP = "smart"
OUTPUT_TOKENS = (
    8  # mean of every endpoint: few and slow ones, for each costs the proxy CPU and no queue gets longer by it
)
SLOWDOWN = 6.0
BURST = 4.0
PhaseName = Literal["steady", "slowdown", "outage", "burst"]


class Deployment(NamedTuple):
    """One endpoint with its price in USD per token and its quality, 0..1."""

    spec: EndpointSpec
    input_usd: float
    output_usd: float
    quality: float

    @property
    def name(self) -> str:
        """Model name and deployment id."""
        return self.spec.name

    def cost_usd(self, prompt_tokens: int, output_tokens: int) -> float:
        """What an answer costs."""
        return prompt_tokens * self.input_usd + output_tokens * self.output_usd


class Contract(NamedTuple):
    """What a request must get. Seconds, USD, 0..1."""

    ttft_s: float
    cost_per_1k_usd: float
    min_quality: float

    @property
    def headers(self) -> dict[str, str]:
        """As the proxy is told; the same for every strategy."""
        return {
            "x-slo-ttft-ms": f"{self.ttft_s * 1_000:g}",
            "x-slo-cost-per-1k": f"{self.cost_per_1k_usd:g}",
            "x-slo-min-quality": f"{self.min_quality:g}",
        }


class Kind(NamedTuple):
    """A class of requests: its share of the traffic, its contract, its prompt's length in words."""

    category: str
    share: float
    contract: Contract
    words: tuple[int, int]
    instruction: str


class Event(NamedTuple):
    """At this share of a phase an endpoint starts to behave like this."""

    at: float
    deployment: str
    fault: FaultKind
    factor: float = 1.0


class Phase(NamedTuple):
    """What happens while requests are counted. `burst` holds from a third to two thirds of it.

    `settle_s` of usual traffic come before it and are not counted. Phases of one name differ in the endpoint that
    something happens to, and count together.
    """

    name: PhaseName
    victim: str = ""
    events: tuple[Event, ...] = ()
    burst: float = 1.0
    settle_s: float = 1.0

    def rate_factor(self, at: float) -> float:
        """How many times the usual rate arrives at this share of the phase; before 0 it settles."""
        return self.burst if 1 / 3 <= at < 2 / 3 else 1.0

    def fault(self, deployment: str, at: float) -> Event | None:
        """What the deployment does wrong at this share of the phase."""
        began = [event for event in self.events if event.deployment == deployment and event.at <= at]
        return began[-1] if began else None


def _spec(name: str, *, ttft_ms: float, tpot_ms: float, slots: int, prefill_us: float) -> EndpointSpec:
    return EndpointSpec(
        name=name,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        slots=slots,
        prefill_us_per_token=prefill_us,
        output_tokens=OUTPUT_TOKENS,
        context_tokens=32_768,
    )


DEPLOYMENTS = (
    Deployment(_spec("small", ttft_ms=80, tpot_ms=40, slots=2, prefill_us=100), 2e-7, 2e-7, 0.60),
    Deployment(_spec("medium", ttft_ms=120, tpot_ms=50, slots=8, prefill_us=150), 8e-7, 8e-7, 0.80),
    Deployment(_spec("hosted", ttft_ms=180, tpot_ms=30, slots=16, prefill_us=100), 1.6e-6, 1.6e-6, 0.80),
    Deployment(_spec("large", ttft_ms=100, tpot_ms=15, slots=24, prefill_us=50), 5e-6, 2e-5, 0.95),
)
BY_NAME: Mapping[str, Deployment] = {deployment.name: deployment for deployment in DEPLOYMENTS}

KINDS = (
    Kind("ner", 0.65, Contract(0.6, 0.002, 0.5), (30, 150), "Extract all names of people and places from this text."),
    Kind("summarization", 0.165, Contract(0.8, 0.02, 0.7), (150, 350), "Summarize this report in one sentence."),
    Kind("reasoning", 0.185, Contract(1.5, 0.02, 0.9), (40, 120), "Explain step by step what follows from this."),
)
BY_CATEGORY: Mapping[str, Kind] = {kind.category: kind for kind in KINDS}

# Each endpoint in its turn: one alone would favour whoever happens not to use it. Before something happens to the next,
# the last has time to recover, and a strategy to come back to it.
PHASES = (
    Phase("steady", settle_s=2.0),
    Phase("burst", burst=BURST),
    *(Phase("slowdown", one.name, (Event(0.1, one.name, "slow", SLOWDOWN),), settle_s=8.0) for one in DEPLOYMENTS),
    *(
        Phase("outage", one.name, (Event(0.1, one.name, "error500"), Event(0.5, one.name, "hang")), settle_s=10.0)
        for one in DEPLOYMENTS
    ),
)
