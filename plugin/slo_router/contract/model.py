"""The values that flow through a decision, from a request's features to the pick.

    Features ─┐
    Slo ──────┼─→ routing.decide ─→ Decision (every Assessment, every Rejection)
    Facts ────┤
    Snapshot ─┘

All are immutable. Times are seconds, money is USD, qualities and rates lie in 0..1. `None` means unmeasured or not
asked for; 0 is a measurement. Those that are built for every candidate of every request are named tuples, which cost a
third of a frozen dataclass to make; those that live long are frozen dataclasses.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

DecisionKind = Literal["met", "fallback", "passthrough"]
Basis = Literal["live", "measured", "pooled", "none"]

KNEES = (2.0, 4.0, 8.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)  # loads at which a fit may find a batch full
CATEGORIES = ("ner", "summarization", "reasoning", "code", "chat")  # of tasks; a group's settings may add to them
EMPTY: Mapping[str, float] = MappingProxyType({})
EMPTY_COUNTS: Mapping[str, int] = MappingProxyType({})


class Slo(NamedTuple):
    """What one request asks for. `cost_per_1k_usd` is USD per 1,000 tokens, prompt and completion together."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    cost_per_1k_usd: float | None = None
    min_quality: float | None = None


class Features(NamedTuple):
    """What a decision knows of a request. No text: only sizes, needs and the category."""

    category: str
    category_source: str  # "client", the categorizer's name, or "unsure" where it would not say
    prompt_tokens: int  # estimated, never tokenized
    output_tokens: int  # expected, capped by what the client allows
    reserved_tokens: int  # room the answer must find in the context window: the client's max_tokens, else the expected
    needs: frozenset[str] = frozenset()  # of "tools", "vision", "json_schema", "audio", "pdf", "video"
    stream: bool = False
    limit_tokens: int | None = None  # of the answer, as the client asks for; `None` where it asks for none
    text_tokens: int = 0  # the part of `prompt_tokens` that is text; the rest are tools, images and files
    tool_tokens: int = 0  # the part that are the tools' schemas
    images: int = 0
    files: int = 0
    choices: int = 1  # answers that are asked for (`n`); `output_tokens` are those of all of them
    effort: str = ""  # that a model is asked to think with: `low`, …, or `~2048` tokens of it; empty: as it likes


class Tier(NamedTuple):
    """The prices of a request whose prompt is longer than so many tokens, USD per token, for all of its tokens."""

    above_tokens: int
    input_usd: float
    output_usd: float
    cached_usd: float | None = None  # `None`: as below
    extra_usd: Mapping[str, float] = EMPTY  # as in `Facts`


class Limits(NamedTuple):
    """What the configuration allows a deployment, of all workers: requests and tokens a minute, requests at once."""

    rpm: float | None = None
    tpm: float | None = None
    at_once: float | None = None


UNLIMITED = Limits()
NO_TIERS: Mapping[str, Any] = MappingProxyType({})
_GENERATED_ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a SHA-256, or a UUID


@dataclass(frozen=True, slots=True)
class Facts:
    """What the configuration says of a deployment. Prices are USD per token."""

    deployment_id: str
    model: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_token: float | None = None
    output_usd_per_token: float | None = None
    cached_usd_per_token: float | None = None  # of the prompt, read from a prefix cache
    gpu_usd_per_hour: float | None = None
    quality: Mapping[str, float] = field(default_factory=lambda: EMPTY)  # by category, "default" for the rest
    unsupported: frozenset[str] = frozenset()
    metrics_url: str | None = None
    tiers: tuple[Tier, ...] = ()  # ascending
    usd_per_second: float | None = None  # of the whole request, where tokens have no price
    usd_per_request: float | None = None  # beside the tokens
    limits: Limits = UNLIMITED
    weight: float | None = None  # LiteLLM's: its part of the traffic among equals
    extra_usd: Mapping[str, float] = field(default_factory=lambda: EMPTY)  # of a kind's token, beyond a plain one's
    service_tier: str | None = None  # of `litellm_params`: what is asked of the provider, such as `flex`
    in_tiers: Mapping[str, Facts] = field(default_factory=lambda: NO_TIERS, repr=False)  # for requests that name one
    habits: str = ""  # what else the configuration says that makes answers longer or shorter
    thinks: bool = False  # the model is known to reason before it answers

    @property
    def writer(self) -> str:
        """Deployments of one writer write answers of one length."""
        return f"{self.model} {self.habits}" if self.habits else self.model

    @property
    def name(self) -> str:
        """What people read: the id, or where LiteLLM generated it the model's name and the id's beginning."""
        if _GENERATED_ID.fullmatch(self.deployment_id) is None:
            return self.deployment_id
        return f"{self.model.rpartition('/')[2]}~{self.deployment_id[:8]}"

    def quality_for(self, category: str) -> float | None:
        """The configured quality (0..1) for a category, `None` where nothing is configured."""
        return self.quality.get(category, self.quality.get("default"))


class LatencyFit(NamedTuple):
    """How a sweep found that a deployment's latency follows prompt length and load; `latency` has the formula.

    Whatever the task. The p95 ratios are of observed ÷ fitted; the errors are the median of |observed ÷ fitted − 1|.
    """

    measured_at_s: float  # Unix seconds
    a_s: float
    b_s_per_token: float
    c_s_per_request: float
    k_s_per_request: float
    knee: float  # one of KNEES, or 0 where none was found
    d_s: float
    e_s_per_request: float
    ttft_p95_ratio: float
    tpot_p95_ratio: float
    ttft_error: float
    tpot_error: float
    ttft_r2: float
    tpot_r2: float
    samples: int
    tokens_min: float  # what was swept; beyond it the line is drawn on
    tokens_max: float
    load_max: float


class Metrics(NamedTuple):
    """What was measured of one deployment in one category (Redis hash `metrics:{deployment_id}:{category}`)."""

    measured_at_s: float  # Unix seconds
    ttft_s: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    tpot_s: float | None = None
    tpot_p95_s: float | None = None
    throughput_tps: float | None = None
    cost_per_1k_usd: float | None = None
    error_rate: float | None = None
    quality_score: float | None = None
    quality_n: int | None = None
    output_tokens_mean: float | None = None
    samples: int | None = None
    answer_fault: str | None = None  # that the answer checks found, as in `looping 9/10`
    quality_held: bool = False  # the score dropped since the last good run, and nobody knows yet why
    fit: LatencyFit | None = None
    error_at_s: float | None = None  # when `error_rate` was measured, where that was apart from the latencies
    fault_at_s: float | None = None  # likewise when `answer_fault` was found
    prompt_tokens_mean: float | None = None

    @property
    def failed_at_s(self) -> float:
        """When `error_rate` was measured: a writer that knows one timestamp alone may have come later."""
        return max(self.measured_at_s, self.error_at_s or 0.0)

    @property
    def faulty_at_s(self) -> float:
        """When `answer_fault` was found."""
        return self.measured_at_s if self.fault_at_s is None else self.fault_at_s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything measured, as one reading of Redis found it. The request path reads this and nothing else."""

    measured: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)  # deployment id → category → metrics
    pooled: Mapping[str, Metrics] = field(default_factory=dict)  # deployment id → over its measured categories
    read_at_s: float | None = None  # Unix seconds of the last successful reading
    any_fault: bool = False  # a deployment's answers failed their checks in some category
    any_error: bool = False  # a deployment failed a request of the benchmark's
    lapses_at_s: float = math.inf  # when the next of it lapses, Unix seconds
    known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)  # filled by `know`


class Prediction(NamedTuple):
    """What one deployment would do with this request.

    Latencies are those that it keeps with the group's `confidence` where live traffic tells, else the benchmark's p95,
    else its mean.
    """

    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    cost_usd: float | None
    cost_per_1k_usd: float | None
    quality: float | None
    error_rate: float | None
    basis: Basis
    age_s: float | None
    samples: int | None
    in_flight: float = 0.0  # requests on their way there, from all workers
    output_tokens: float | None = None  # expected, of all answers that are asked for, within the client's limit
    longest_tokens: float | None = None  # that one answer does not exceed with the group's confidence, nor the limit
    answer_tokens: float | None = None  # expected of one answer that nobody limits


class Rejection(NamedTuple):
    """Why a deployment cannot take this request: which filter, the value found and the limit it broke."""

    deployment_id: str
    filter: str
    value: float | str | None
    limit: float | str | None


class Standing(enum.IntEnum):
    """How a candidate stands to the SLO; a lower value ranks first."""

    MEETS = 0
    UNKNOWN = 1
    MISSES = 2


class Assessment(NamedTuple):
    """One candidate's prediction held against the SLO.

    `headroom` is the smallest (limit − prediction) / limit over the SLO's measured fields: 0.2 leaves a fifth of the
    limit, −1 is twice the limit; `None` where no field could be judged.
    """

    deployment_id: str
    prediction: Prediction
    standing: Standing
    headroom: float | None
    missed: tuple[str, ...] = ()  # fields of the SLO that the prediction breaks
    unknown: tuple[str, ...] = ()  # fields of the SLO that nothing was measured for
    scores: Mapping[str, float] | None = None  # the objective's terms, where it has any
    probability: float | None = None  # that the SLO is kept; `None` where nothing live tells
    shadow_usd: float = 0.0  # what its place is worth to others, where places are scarce; nobody is billed it


class Outlook(NamedTuple):
    """What live traffic lets the pick expect of this request."""

    probability: float | None  # that the SLO is kept; `None` where the SLO names nothing that could be missed
    ttft_p50_s: float
    ttft_p95_s: float


class Decision(NamedTuple):
    """The whole decision: header, log record, command line and tests all read this one object."""

    kind: DecisionKind
    deployment_id: str
    features: Features
    slo: Slo
    assessments: tuple[Assessment, ...]
    rejections: tuple[Rejection, ...]
    policy: str
    outlook: Outlook | None = None  # for the pick; `None` where nothing live tells
    cached_tokens: int = 0  # of the conversation, expected in the pick's prefix cache
    cached_at: str = ""  # the deployment that has the conversation in its prefix cache, picked or not; "" for none
    cost_interval_usd: tuple[float, float] | None = None  # of the pick: nine in ten such requests cost between the two
    read_cached: Mapping[str, int] = EMPTY_COUNTS  # by deployment id: of the prompt, billed as read from its cache
    leaving_usd: Mapping[str, float] = EMPTY  # by deployment id: for what `cached_at` has and it must read again

    @property
    def probability(self) -> float | None:
        """P(the pick keeps the SLO)."""
        return None if self.outlook is None else self.outlook.probability

    @property
    def selected(self) -> Assessment | None:
        """The assessment of the deployment that was picked."""
        for assessment in self.assessments:
            if assessment.deployment_id == self.deployment_id:
                return assessment
        return None
