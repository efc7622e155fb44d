"""The world of the face-off: the deployments, the requests, and what goes wrong. Pure.

    small    on its own GPU: cheap, two slots, good enough for its own class only            quality 0.60
    medium   on own GPUs: four times small's price, eight slots                              quality 0.80
    hosted   medium's model at a provider: many slots, at twice medium's price               quality 0.80
    large    hosted, fast, most slots: 25 times small's price per prompt token, 100 times    quality 0.95
             per output token

The prices are of the order of an 8B model, a 27B model on own hardware and at a provider, and a frontier model. The
qualities are assumed. `evaluation.routing.models` measures how much of the traffic needs which model. Three models
answered 2,449 prompts of ZeroEval (WildEval/ZeroEval, Apache-2.0) right, each prompt by at least one of them. For 65 %
Llama-3.1-8B-Instruct was enough, for 16.5 % more gemma-2-27b-it, and 18.5 % needed Claude 3.5 Sonnet. What LiteLLM's
strategies do depends on such facts, because each looks at one thing only. If `large` were slow, latency-based routing
would stay on `medium`. Being in the middle, `medium` keeps the contracts of four requests in five.

This is the reference; its requests are all streamed chats. A second fleet, a group of its own, meets traffic of all
kinds. Its verbosities are measured, see `evaluation.routing.models`; only the five times of `thinker` are assumed:

    8b, 8b-limited    one model; the second at a provider with a limit of 30 requests a minute   quality 0.60
    27b, 27b-new      one model at four times 8b's price; the second is a replica                quality 0.80
    thinker           like 27b, at half its price per token, with five times longer answers      quality 0.80
    frontier          fast, many slots: 25 times 8b's price per prompt token, 50 times per       quality 0.95
                      output token

8b-limited and 27b-new are not measured beforehand: the agent would use up the rate limit of the first, and the second
is new.

A third fleet meets the same kinds of traffic. Its four models differ only in verbosity and price: the less a token
costs, the more tokens an answer has. So the cheapest model per token is the dearest per answer, unless the prompt is
long or the client allows only a short answer:

    brief, plain, wordy, endless    0.5, 1, 3 and 8 times as long; their prices are assumed      quality 0.95
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal, NamedTuple

from evaluation.emulator import EndpointSpec, Fault
from evaluation.shared.traffic import ANSWERS, Lengths

GROUP, MIXED_GROUP, VERBOSE_GROUP = "smart", "mixed", "verbose"
OUTPUT_TOKENS = 8  # mean of every endpoint. Few, slow tokens: each token costs the proxy CPU, but makes no queue longer
MIXED_OUTPUT_TOKENS, TOKENS_PER_CHUNK = 128, 16  # as few chunks, but answers of usual length
SLOW, FAILS, HANGS = Fault(fault="slow", factor=6.0), Fault(fault="error500"), Fault(fault="hang")
STALLS = Fault(fault="stall", place="opening", stall_s=5.0, share=0.03)  # for small, which serves most
FREEZES = Fault(fault="stall", place="connection", stall_s=None, for_s=10.0)
BURST = 4.0
PhaseName = Literal["steady", "slowdown", "outage", "stall", "burst", "mixed", "credit", "verbose"]
MIXED_PROMPTS = Lengths(120, 0.99, 6_000)  # the recorded prompts' spread, but shorter, like the answers
TOO_LONG_TOKENS = 40_000  # beyond every context here; more would only block the proxy, which counts them
WHOLE_S = 1.0, 6.0  # the time limit of a whole answer is log-uniform between these


class Deployment(NamedTuple):
    """One endpoint with its price in USD per token and its quality, 0..1."""

    spec: EndpointSpec
    input_usd: float
    output_usd: float
    quality: float
    model: str = ""  # the model that it serves; empty: `name`
    is_measured: bool = True

    @property
    def name(self) -> str:
        """Deployment id."""
        return self.spec.name

    @property
    def served(self) -> str:
        """The model's name."""
        return self.model or self.name

    def cost_usd(self, prompt_tokens: int, output_tokens: int) -> float:
        """What an answer costs."""
        return prompt_tokens * self.input_usd + output_tokens * self.output_usd


class Contract(NamedTuple):
    """What a request must get: seconds, USD, 0..1. For an answer in one piece, `e2e_s` is the time limit."""

    ttft_s: float
    cost_per_1k_usd: float
    min_quality: float
    e2e_s: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell the proxy the contract. Every strategy gets the same."""
        name, time_s = ("ttft", self.ttft_s) if self.e2e_s is None else ("e2e", self.e2e_s)
        return {
            f"x-slo-{name}-ms": f"{time_s * 1_000:g}",
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
    """From the share `at` of a phase on, the endpoint of `deployment` has this fault."""

    at: float
    deployment: str
    fault: Fault


class Phase(NamedTuple):
    """What happens while requests are counted. `burst` multiplies the rate from a third to two thirds of the phase.

    Before the phase, usual traffic runs for `settle_s` seconds and is not counted. Phases of one name have different
    victims, and count together.
    """

    name: PhaseName
    victim: str = ""
    events: tuple[Event, ...] = ()
    burst: float = 1.0
    settle_s: float = 1.0
    group: str = GROUP

    @property
    def fleet(self) -> Sequence[Deployment]:
        """The deployments that serve the phase's requests."""
        return FLEETS[self.group]

    def rate_factor(self, at: float) -> float:
        """The factor on the usual rate at this share of the phase; below 0 the system settles."""
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


def _verbose(spec: EndpointSpec, verbosity: float, **habits: object) -> EndpointSpec:
    """Gives answers a heavy tail. The prompt sets the length for all endpoints alike; no router knows it beforehand."""
    changed = {"output_tokens": round(MIXED_OUTPUT_TOKENS * verbosity), "output_sigma": ANSWERS.sigma, **habits}
    return EndpointSpec(**{**asdict(spec), "tokens_per_chunk": TOKENS_PER_CHUNK, **changed})


DEPLOYMENTS = (
    Deployment(_spec("small", ttft_ms=80, tpot_ms=40, slots=2, prefill_us=100), 2e-7, 2e-7, 0.60),
    Deployment(_spec("medium", ttft_ms=120, tpot_ms=50, slots=8, prefill_us=150), 8e-7, 8e-7, 0.80),
    Deployment(_spec("hosted", ttft_ms=180, tpot_ms=30, slots=16, prefill_us=100), 1.6e-6, 1.6e-6, 0.80),
    Deployment(_spec("large", ttft_ms=100, tpot_ms=15, slots=24, prefill_us=50), 5e-6, 2e-5, 0.95),
)
_8b = _spec("8b", ttft_ms=80, tpot_ms=1.6, slots=4, prefill_us=20)
_27b = _spec("27b", ttft_ms=120, tpot_ms=2, slots=8, prefill_us=25)
_thinker = _spec("thinker", ttft_ms=120, tpot_ms=0.8, slots=16, prefill_us=25)
_frontier = _spec("frontier", ttft_ms=100, tpot_ms=1, slots=24, prefill_us=15)
MIXED = (
    Deployment(_verbose(_8b, 2.24, context_tokens=8_192), 2e-7, 4e-7, 0.60),
    Deployment(
        _verbose(_8b, 2.24, name="8b-limited", context_tokens=8_192, per_minute=30, burst=5),
        *(2e-7, 4e-7, 0.60, "8b"),
        is_measured=False,
    ),
    Deployment(_verbose(_27b, 1.0), 8e-7, 1.6e-6, 0.80),
    Deployment(_verbose(_27b, 1.0, name="27b-new", opens_early=False), 8e-7, 1.6e-6, 0.80, "27b", is_measured=False),
    Deployment(_verbose(_thinker, 5.0), 4e-7, 8e-7, 0.80),
    Deployment(_verbose(_frontier, 0.91, opens_early=False), 5e-6, 2e-5, 0.95),
)
_roomy = _spec("brief", ttft_ms=100, tpot_ms=0.8, slots=24, prefill_us=15)
VERBOSE = (
    Deployment(_verbose(_roomy, 0.5), 5e-7, 1.9e-6, 0.95),
    Deployment(_verbose(_roomy, 1.0, name="plain"), 4e-7, 1.4e-6, 0.95),
    Deployment(_verbose(_roomy, 3.0, name="wordy"), 3e-7, 8e-7, 0.95),
    Deployment(_verbose(_roomy, 8.0, name="endless"), 2e-7, 4e-7, 0.95),
)
FLEETS: Mapping[str, Sequence[Deployment]] = {GROUP: DEPLOYMENTS, MIXED_GROUP: MIXED, VERBOSE_GROUP: VERBOSE}
EVERYBODY = (*DEPLOYMENTS, *MIXED, *VERBOSE)
BY_NAME: Mapping[str, Deployment] = {deployment.name: deployment for deployment in EVERYBODY}

KINDS = (
    Kind("ner", 0.65, Contract(0.6, 0.002, 0.5), (30, 150), "Extract all names of people and places from this text."),
    Kind("summarization", 0.165, Contract(0.8, 0.02, 0.7), (150, 350), "Summarize this report in one sentence."),
    Kind("reasoning", 0.185, Contract(1.5, 0.02, 0.9), (40, 120), "Explain step by step what follows from this."),
)
BY_CATEGORY: Mapping[str, Kind] = {kind.category: kind for kind in KINDS}

# Each endpoint fails in its turn: one victim alone would favour a strategy that happens not to use it. Before the next
# victim, the last one has time to recover, and a strategy has time to come back to it. An endpoint says "out of credit"
# with HTTP 400, 402 or 403.
PHASES = (
    Phase("steady", settle_s=2.0),
    Phase("burst", burst=BURST),
    *(Phase("slowdown", one.name, (Event(0.1, one.name, SLOW),), settle_s=8.0) for one in DEPLOYMENTS),
    *(
        Phase("outage", one.name, (Event(0.1, one.name, FAILS), Event(0.5, one.name, HANGS)), settle_s=10.0)
        for one in DEPLOYMENTS
    ),
    Phase("stall", "small", (Event(0.0, "small", STALLS), Event(0.5, "small", FREEZES)), settle_s=8.0),
    Phase("mixed", settle_s=20.0, group=MIXED_GROUP),
    *(
        Phase(
            "credit", name, (Event(0.1, name, Fault(fault="status", status=status)),), settle_s=6.0, group=MIXED_GROUP
        )
        for name, status in (("8b", 400), ("thinker", 402), ("27b", 403))
    ),
    Phase("verbose", settle_s=20.0, group=VERBOSE_GROUP),
)


def dealt(repeat: int, at_most: int) -> tuple[Phase, ...]:
    """The phases of a repeat: of each name at most `at_most`. The next repeat goes on with the next victims."""
    found: list[Phase] = []
    for name in dict.fromkeys(phase.name for phase in PHASES):
        same = [phase for phase in PHASES if phase.name == name]
        begin = repeat * at_most
        found += [same[(begin + i) % len(same)] for i in range(min(at_most, len(same)))]
    return tuple(found)
