"""The values that flow through a decision, from a request's features to the pick.

    Features ─┐
    Slo ──────┼─→ decision.decide ─→ Decision (every Assessment, every Rejection)
    Facts ────┤
    Snapshot ─┘

All are immutable. Times are seconds, costs are USD, qualities and rates lie in 0..1. `None` means unmeasured or not
asked for; 0 is a measurement. Values built for every candidate of every request are named tuples, which take a third of
the time of a frozen dataclass. Long-lived values are frozen dataclasses.
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

KNEES = (2.0, 4.0, 8.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)  # loads at which a server's batch may be full
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.975, 0.99)  # quantiles that distributions keep
CATEGORIES = ("ner", "summarization", "reasoning", "code", "chat")  # of tasks; a group's settings may add to them
EMPTY: Mapping[str, float] = MappingProxyType({})
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Slo(NamedTuple):
    """What one request asks for. `cost_per_1k_usd` is USD per 1,000 tokens, prompt and completion together."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    cost_per_1k_usd: float | None = None
    min_quality: float | None = None


class Features(NamedTuple):
    """What a decision knows of a request: sizes, needs and the category, but no text."""

    category: str
    category_source: str  # "client", "rule", "categorizer" or "unsure"
    prompt_tokens: int  # estimated, never tokenized
    output_tokens: int  # expected, capped by what the client allows
    reserved_tokens: int  # room for the answer in the context window: the client's max_tokens, else the expected tokens
    needs: frozenset[str] = frozenset()  # of "tools", "vision", "json_schema", "audio", "audio_output", "pdf", "video"
    stream: bool = False
    limit_tokens: int | None = None  # the client's limit for one answer; `None` where it sets none
    text_tokens: int = 0  # the part of `prompt_tokens` that is text; the rest are tools, images and files
    tool_tokens: int = 0  # the part of `prompt_tokens` for the tools' schemas
    images: int = 0
    files: int = 0
    choices: int = 1  # answers asked for (`n`, `best_of`); `output_tokens` counts all of them
    effort: str = ""  # of thinking, as asked for: `low`, …, or a budget such as `~2048` tokens; empty: not asked for
    most_tokens: int | None = None  # no tokenizer makes more of the prompt; `None`: it is not text alone
    learned: float = 1.0  # what was learned by then of the part that such a request teaches, see `request.usage`


class Tier(NamedTuple):
    """The prices (USD per token) of all tokens of a request whose prompt is longer than `above_tokens`."""

    above_tokens: int
    input_usd: float
    output_usd: float
    cached_usd: float | None = None  # `None`: the price below this tier
    extra_usd: Mapping[str, float] = EMPTY  # as in `Facts`


class Limits(NamedTuple):
    """A deployment's configured limits, over all workers: requests and tokens per minute, parallel requests."""

    rpm: float | None = None
    tpm: float | None = None
    at_once: float | None = None


UNLIMITED = Limits()
TEXT = "text"  # in `Facts.unsupported` of a deployment that makes embeddings, images or the like
_GENERATED_ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a SHA-256, or a UUID


@dataclass(frozen=True, slots=True)
class Facts:
    """What the configuration says of a deployment."""

    deployment_id: str
    model: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_token: float | None = None
    output_usd_per_token: float | None = None
    cached_usd_per_token: float | None = None  # for prompt tokens read from a prefix cache
    gpu_usd_per_hour: float | None = None
    quality: Mapping[str, float] = field(default_factory=lambda: EMPTY)  # by category, "default" for the rest
    unsupported: frozenset[str] = frozenset()
    metrics_url: str | None = None
    tiers: tuple[Tier, ...] = ()  # ascending
    usd_per_second: float | None = None  # of the whole request, where tokens have no price
    usd_per_request: float | None = None  # added to the price of the tokens
    limits: Limits = UNLIMITED
    weight: float | None = None  # LiteLLM's `weight`: its part of the traffic among equal deployments
    extra_usd: Mapping[str, float] = field(default_factory=lambda: EMPTY)  # per token, by kind, beyond a plain token
    service_tier: str | None = None  # of `litellm_params`, such as `flex`
    in_tiers: Mapping[str, Facts] = field(default_factory=lambda: NOTHING, repr=False)  # by the tier a request names
    habits: str = ""  # configured parameters that make answers longer or shorter
    thinks: bool = False  # the model is known to reason before it answers

    @property
    def writer(self) -> str:
        """Model and habits. Deployments with the same writer write answers of the same expected length."""
        return f"{self.model} {self.habits}" if self.habits else self.model

    @property
    def name(self) -> str:
        """The name for people: the id; for an id that LiteLLM generated, the model's name and the id's beginning."""
        if _GENERATED_ID.fullmatch(self.deployment_id) is None:
            return self.deployment_id
        return f"{self.model.rpartition('/')[2]}~{self.deployment_id[:8]}"

    def quality_for(self, category: str) -> float | None:
        """The configured quality (0..1) for a category, `None` where nothing is configured."""
        return self.quality.get(category, self.quality.get("default"))


class LatencyFit(NamedTuple):
    """A sweep's fit of a deployment's latency to prompt length and load; `latency_fit` has the formula.

    It does not depend on the task. The p95 ratios are those of observed ÷ fitted. The errors are the median of
    |observed ÷ fitted − 1|.
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
    tokens_min: float  # the swept range; outside it the fit is extrapolated
    tokens_max: float
    load_max: float


class Metrics(NamedTuple):
    """The measurements of one deployment in one category (Redis hash `metrics:{deployment_id}:{category}`)."""

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
    answer_fault: str | None = None  # found by the answer checks, such as `looping 9/10`
    quality_held: bool = False  # the score dropped since the last good run, for an unknown reason
    fit: LatencyFit | None = None
    error_at_s: float | None = None  # when `error_rate` was measured, if at another time than the latencies
    fault_at_s: float | None = None  # when `answer_fault` was found, if at another time than the latencies
    prompt_tokens_mean: float | None = None
    quality_at_s: float | None = None  # when the oldest of the answers behind `quality_score` was given
    hidden_tokens_mean: float | None = None  # of the output, reasoning that the client does not see

    @property
    def failed_at_s(self) -> float:
        """When `error_rate` was measured, Unix seconds: the later timestamp, for some writers set only `timestamp`."""
        return max(self.measured_at_s, self.error_at_s or 0.0)

    @property
    def faulty_at_s(self) -> float:
        """When `answer_fault` was found, Unix seconds."""
        return self.measured_at_s if self.fault_at_s is None else self.fault_at_s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All measurements of one reading of Redis. The request path reads measurements only from here."""

    measured: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)  # deployment id → category → metrics
    pooled: Mapping[str, Metrics] = field(default_factory=dict)  # deployment id → pooled over its measured categories
    read_at_s: float | None = None  # Unix seconds of the last successful reading
    any_fault: bool = False  # a deployment has an answer fault in some category
    any_error: bool = False  # a deployment failed a request of the benchmark
    lapses_at_s: float = math.inf  # when the next error rate or fault lapses, Unix seconds


class Prediction(NamedTuple):
    """What to expect of one deployment for this request. Latencies (seconds) are those that it keeps with the group's
    `confidence`, by live traffic; without it the benchmark's p95, else its mean.
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
    in_flight: float = 0.0  # requests in flight there, from all workers
    output_tokens: float | None = None  # expected of all answers together, within the client's limit
    longest_tokens: float | None = None  # one answer does not exceed it with the group's confidence; within the limit
    answer_tokens: float | None = None  # expected of one answer without a limit
    hidden_tokens: float | None = None  # of one answer within the limit, reasoning that the client does not see
    quality_bound: float | None = None  # compared with `min_quality`; `quality` is the mean
    quality_answers: Mapping[str, float] = EMPTY  # graded answers behind it, as they weigh, by source
    quality_at_s: float | None = None  # when the newest of them was given, Unix seconds


class Rejection(NamedTuple):
    """Why a deployment is not eligible for this request: the filter, the value found and the limit it broke."""

    deployment_id: str
    filter: str
    value: float | str | None
    limit: float | str | None


class Standing(enum.IntEnum):
    """Whether a candidate is expected to keep the SLO; a lower value ranks first."""

    MEETS = 0
    UNKNOWN = 1
    MISSES = 2


class Assessment(NamedTuple):
    """One candidate's prediction compared with the SLO.

    `headroom` is the smallest (limit − prediction) / limit over the SLO's measured fields: 0.2 leaves a fifth of the
    limit, −1 is twice the limit. It is `None` where no field could be judged.
    """

    deployment_id: str
    prediction: Prediction
    standing: Standing
    headroom: float | None
    missed: tuple[str, ...] = ()  # fields of the SLO that the prediction breaks
    unknown: tuple[str, ...] = ()  # fields of the SLO without any measurement
    scores: Mapping[str, float] | None = None  # the objective's terms, where it has any
    probability: float | None = None  # that the SLO is kept; `None` without live traffic
    shadow_usd: float = 0.0  # value of its place to other requests, where places are scarce; never billed


class Outlook(NamedTuple):
    """What live traffic predicts for this request on the pick."""

    probability: float | None  # that the SLO is kept; `None` where it limits no latency, and its cost limit is met
    ttft_p50_s: float
    ttft_p95_s: float


class Decision(NamedTuple):
    """The whole decision. Headers, log records, the command line and tests read this one object."""

    kind: DecisionKind
    deployment_id: str
    features: Features
    slo: Slo
    assessments: tuple[Assessment, ...]
    rejections: tuple[Rejection, ...]
    policy: str
    outlook: Outlook | None = None  # for the pick; `None` without live traffic
    cached_tokens: int = 0  # of the conversation, expected in the pick's prefix cache
    cached_at: str = ""  # the deployment with the conversation in its prefix cache, picked or not; "" for none
    cost_interval_usd: tuple[float, float] | None = None  # of the pick: nine in ten such requests cost between the two
    read_cached: Mapping[str, int] = NOTHING  # by deployment id: prompt tokens billed as read from its cache
    leaving_usd: Mapping[str, float] = EMPTY  # by deployment id: cost of reading what `cached_at` has cached
    quality_confidence: float | None = None  # of each `quality_bound`
    worth_usd: float | None = None  # of a quality of 1, where the objective is `value`

    @property
    def probability(self) -> float | None:
        """P(the pick keeps the SLO)."""
        return None if self.outlook is None else self.outlook.probability

    @property
    def selected(self) -> Assessment | None:
        """The assessment of the deployment that was picked."""
        return next((one for one in self.assessments if one.deployment_id == self.deployment_id), None)
