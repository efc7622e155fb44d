"""What arrives: when, how large, of which category, and under which contract.

Arrivals are made at unit rate first, in *operational* time, from the gaps of the recorded trace or from exponential
ones, and then mapped to the clock by the inverse of the expected count Λ(t) = ∫ rate. One function thus serves both
sources, and a burst is a steeper piece of Λ that keeps the trace's own burstiness (Cinlar, *Introduction to Stochastic
Processes*, 1975, ch. 4.7).

A contract is joint: TTFT limit, cost limit per 1,000 tokens and quality floor, all kept or not kept.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

DEFAULT_TRACE = Path(__file__).resolve().parents[3] / "shared" / "data" / "traffic_azure2023_conv.csv.gz"
SIZE_ERROR = 0.1  # sigma of the log-normal error of a token count that is estimated from characters


class Size(NamedTuple):
    """Tokens of one recorded request, and the gap to the one before in units of the trace's mean gap."""

    gap: float
    prompt_tokens: int
    output_tokens: int


class Contract(NamedTuple):
    """What a request asks for. `cost_per_1k_usd` is USD per 1,000 tokens, prompt and answer together."""

    ttft_s: float
    cost_per_1k_usd: float
    min_quality: float


class Noise(NamedTuple):
    """Factors of mean 1 on the phases of one request at one endpoint; every policy meets the same ones."""

    overhead: float
    prefill: float
    decode: float


class Request(NamedTuple):
    """One request. A router may read `category`, `estimated_tokens`, `expected_tokens` and `contract`, no more."""

    number: int
    at_s: float
    category: str
    prompt_tokens: int
    output_tokens: int
    estimated_tokens: int  # of the prompt, as a router guesses it
    expected_tokens: int  # of the answer: the mean over all
    contract: Contract
    noise: tuple[Noise, ...]  # by endpoint


class Kind(NamedTuple):
    """A category's share of the traffic and the limits that its requests draw from.

    The TTFT limit lies log-uniformly between two bounds, so that many are close to what some deployment can do.
    """

    share: float
    ttft_s: tuple[float, float]
    cost_per_1k_usd: tuple[float, ...]
    min_quality: tuple[float, ...]


KINDS = {
    "chat": Kind(0.35, (0.15, 0.8), (0.0018, 0.0035), (0.7, 0.8)),
    "ner": Kind(0.15, (0.2, 1.5), (0.0008, 0.0018), (0.75,)),
    "summarization": Kind(0.2, (0.3, 2.0), (0.0018, 0.0035), (0.7, 0.8)),
    "code": Kind(0.15, (0.2, 1.2), (0.0018, 0.012), (0.7,)),
    "reasoning": Kind(0.15, (0.4, 3.0), (0.012,), (0.65, 0.85)),
}


class Rate(NamedTuple):
    """Requests per second, `factor` times as many from `start_s` to `end_s`."""

    per_s: float
    factor: float = 1.0
    start_s: float = 0.0
    end_s: float = 0.0

    def clock_s(self, expected: float) -> float:
        """When `expected` requests have arrived in the mean: the inverse of Λ."""
        before = self.per_s * self.start_s
        within = self.per_s * self.factor * (self.end_s - self.start_s)
        if expected <= before:
            return expected / self.per_s
        if expected <= before + within:
            return self.start_s + (expected - before) / (self.per_s * self.factor)
        return self.end_s + (expected - before - within) / self.per_s


def read_trace(path: Path) -> list[Size] | None:
    """Recorded sizes and gaps, `None` where the file is absent. Raises ValueError naming file and problem."""
    if not path.exists():
        return None
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        at_s = [float(row["t_s"]) for row in rows]
        tokens = [(int(row["prompt_tokens"]), int(row["output_tokens"])) for row in rows]
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: {error}, expected gzipped CSV of numbers t_s, prompt_tokens, output_tokens"
        ) from error
    if len(rows) < 2 or at_s[-1] <= at_s[0]:
        raise ValueError(f"{path}: {len(rows)} rows, expected at least two, in the order of t_s")
    mean_s = (at_s[-1] - at_s[0]) / (len(at_s) - 1)
    gaps = [0.0, *((b - a) / mean_s for a, b in itertools.pairwise(at_s))]
    return [Size(gap, *pair) for gap, pair in zip(gaps, tokens, strict=True)]


def sizes(trace: Sequence[Size] | None, rng: random.Random) -> Iterator[Size]:
    """Sizes without end: the trace from a random place on, or Poisson arrivals of log-normal sizes."""
    if trace is None:
        while True:
            prompt, output = 650 * math.exp(rng.gauss(0, 0.9)), 150 * math.exp(rng.gauss(0, 0.8))
            yield Size(rng.expovariate(1.0), min(8_000, round(prompt) + 1), min(1_000, round(output) + 1))
    start = rng.randrange(len(trace))
    while True:
        yield from trace[start:]
        start = 0


def generate(
    trace: Sequence[Size] | None, rate: Rate, duration_s: float, sigmas: Sequence[float], seed: int
) -> list[Request]:
    """All requests of `duration_s`. `sigmas` is the spread of the noise of each endpoint."""
    rng = random.Random(seed)
    names, shares = list(KINDS), [kind.share for kind in KINDS.values()]
    requests: list[Request] = []
    expected = 0.0
    for size in sizes(trace, rng):
        expected += size.gap
        at_s = rate.clock_s(expected)
        if at_s >= duration_s:
            break
        category = rng.choices(names, shares)[0]
        kind = KINDS[category]
        ttft_s = math.exp(rng.uniform(*map(math.log, kind.ttft_s)))
        contract = Contract(ttft_s, rng.choice(kind.cost_per_1k_usd), rng.choice(kind.min_quality))
        estimated = max(1, round(size.prompt_tokens * _factor(rng, SIZE_ERROR)))
        noise = tuple(Noise(_factor(rng, s), _factor(rng, s), _factor(rng, s)) for s in sigmas)
        tokens = (size.prompt_tokens, size.output_tokens, estimated, 210)
        requests.append(Request(len(requests), at_s, category, *tokens, contract, noise))
    return requests


def _factor(rng: random.Random, sigma: float) -> float:
    """A log-normal factor of mean 1."""
    return math.exp(rng.gauss(-sigma * sigma / 2, sigma)) if sigma else 1.0
