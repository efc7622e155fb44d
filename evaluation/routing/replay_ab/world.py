"""The world of the study: four deployments, four kinds of requests, one policy in force and others to try. Pure.

Each policy is an arm: a group with its own endpoints, which are the same in all arms. All arms get the same requests at
the same instants, so that the machine affects all of them alike. The endpoints are slow compared with the machine's
noise, and vary much, so that their own spread makes them miss an SLO. Requests are of all kinds, as
`evaluation.shared.traffic` draws them. The models write answers of different lengths, and each prompt makes the answers
of all models longer or shorter alike. Under the recorded policy every deployment serves some requests, because a log
tells nothing about a deployment without requests.

A p90 that is learned from one request every few seconds moves by 10 to 15 %. So each limit is at least 30 % away from
every p90, and each score is further from the next than such a move can shift it. `EDGE` is the exception: its limit is
9 and 18 % above two p90s, so that a live run may differ from its own repetition.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from evaluation.emulator import EndpointSpec
from evaluation.shared import proxy_config
from evaluation.shared.sample import words
from evaluation.shared.traffic import ANSWERS, Ask, mixed
from slo_router.contract.model import Metrics

JITTER = 0.3  # sigma of the log-normal factor on each latency
P95_FACTOR = 1.64  # e^(1.645 · JITTER)
OUTPUT_TOKENS, TOKENS_PER_CHUNK = 128, 16  # few, slow chunks in an answer of usual length
CONTEXT_TOKENS, TOO_LONG_TOKENS = 32_768, 40_000
RECORDED = "recorded"
CONTROL = "the same again"
EDGE = "on the edge"


class Deployment(NamedTuple):
    """One endpoint with its price in USD per token and its quality, 0..1."""

    name: str
    ttft_ms: float
    tpot_ms: float
    usd_per_token: float
    quality: float
    verbosity: float

    def spec(self, arm: str) -> EndpointSpec:
        """The deployment's emulated endpoint in an arm."""
        return EndpointSpec(
            name=deployment_id(self, arm),
            ttft_ms=self.ttft_ms,
            tpot_ms=self.tpot_ms,
            tokens_per_chunk=TOKENS_PER_CHUNK,
            prefill_us_per_token=10,
            tpot_growth=0.02,
            slots=12,
            context_tokens=CONTEXT_TOKENS,
            output_tokens=round(OUTPUT_TOKENS * self.verbosity),
            output_sigma=ANSWERS.sigma,
            jitter=JITTER,
        )

    def metrics(self, now_s: float) -> Metrics:
        """What a benchmark would measure of the deployment."""
        ttft_s, tpot_s = self.ttft_ms / 1_000, self.tpot_ms / 1_000
        return Metrics(
            *(now_s, ttft_s, ttft_s, ttft_s * P95_FACTOR, tpot_s, tpot_s * P95_FACTOR),
            error_rate=0.0,
            output_tokens_mean=OUTPUT_TOKENS * self.verbosity,
            samples=50,
        )


class Kind(NamedTuple):
    """A class of requests: share of the traffic, needed quality, prompt length in words, instruction, headers."""

    share: float
    min_quality: float
    words: tuple[int, int]
    instruction: str
    headers: Mapping[str, str] = MappingProxyType({})


DEPLOYMENTS = (
    Deployment("small", 2_000, 4, 2e-7, 0.60, 2.24),
    Deployment("medium", 6_000, 6, 8e-7, 0.80, 1.0),
    Deployment("hosted", 2_600, 4, 1.6e-6, 0.80, 1.0),
    Deployment("large", 2_800, 4, 8e-6, 0.95, 0.91),
)
KINDS = {  # with the deployment that serves each under the recorded policy
    "ner": Kind(0.40, 0.5, (30, 150), "Extract all names of people and places from this text."),  # small
    "summarization": Kind(0.25, 0.7, (100, 300), "Summarize this report in one sentence."),  # medium
    "reasoning": Kind(0.20, 0.9, (40, 120), "Explain step by step what follows from this."),  # large
    "code": Kind(0.15, 0.7, (40, 120), "Write a function that does this.", {"x-slo-ttft-ms": "6000"}),  # hosted
}
FLOORS = {category: kind.min_quality for category, kind in KINDS.items()}
BEFORE: dict[str, object] = {"slo": {"ttft_ms": 14_000}, "min_quality": FLOORS}
POLICIES: Mapping[str, dict[str, object]] = {
    CONTROL: BEFORE,  # shows how far a live run is from its own repetition
    "higher floor": BEFORE | {"min_quality": FLOORS | {"ner": 0.7}},
    "tighter TTFT": BEFORE | {"slo": {"ttft_ms": 6_000}},
    "weighted": BEFORE | {"objective": "weighted", "weights": {"quality": 0.33, "cost": 0.47, "latency": 0.2}},
    EDGE: BEFORE | {"slo": {"ttft_ms": 4_500}},
}


class Arrival(NamedTuple):
    """One request: seconds after the start, its kind, prompt and headers."""

    at_s: float
    ask: Ask
    prompt: str
    headers: Mapping[str, str]


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[Arrival]:
    """A Poisson process; the same seed sends the same prompts at the same instants."""
    rng, at_s = random.Random(seed), 0.0
    while (at_s := at_s + rng.expovariate(rate)) < seconds:
        (category,) = rng.choices(list(KINDS), [kind.share for kind in KINDS.values()])
        kind = KINDS[category]
        ask = mixed(rng, 0, 0)
        count = rng.randint(*kind.words) if ask.fault != "too_long" else TOO_LONG_TOKENS
        text = words(count, seed=rng.getrandbits(32))
        yield Arrival(at_s, ask, f"{kind.instruction}\n\n{text}", {"x-slo-category": category, **kind.headers})


def deployment_id(deployment: Deployment, arm: str) -> str:
    """The deployment's name in an arm: in Redis, in records and in requests."""
    return f"{arm}: {deployment.name}"


def document(redis_url: str, api_bases: Mapping[str, str], arms: Mapping[str, dict[str, object]]) -> dict[str, object]:
    """A whole `litellm_config.yaml` with a group for each arm; `arms` are their policies."""
    entries = [
        proxy_config.deployment(
            arm,
            deployment_id(one, arm),
            api_bases[deployment_id(one, arm)],
            usd=(one.usd_per_token, 2 * one.usd_per_token),
            info={"max_input_tokens": CONTEXT_TOKENS},
            quality=one.quality,
        )
        for arm in arms
        for one in DEPLOYMENTS
    ]
    return proxy_config.document(entries, arms, redis_url=redis_url)
