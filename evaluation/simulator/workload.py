"""What arrives: when, how large, of which category, and under which contract.

Arrivals are first made at unit rate, in *operational* time, from the gaps of the recorded trace or from exponential
gaps. Then the inverse of the expected count Λ(t) = ∫ rate maps them to the clock. So one function serves both sources,
and a burst is a steeper piece of Λ that keeps the trace's own burstiness (Cinlar, *Introduction to Stochastic
Processes*, 1975, ch. 4.7).

A contract is joint: a time limit, a limit on the cost per 1,000 tokens and a quality floor. It is kept if all three
are. The time limit of a stream is on its first token, and that of a whole answer is on its end.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from evaluation.shared.traffic import ANSWERS, CHARS_PER_TOKEN, PROMPTS, Ask, Habits, steady

SIZE_ERROR = 0.1  # sigma of the log-normal error of a token count that is estimated from characters
WHOLE_S = 6.0, 60.0  # the time limit of a whole answer is log-uniform between these, like clients' timeouts
Draw = Callable[[random.Random, int, int], Ask]  # from prompt and answer tokens


class Size(NamedTuple):
    """Tokens of one recorded request, and the gap to the request before, in units of the trace's mean gap."""

    gap: float
    prompt_tokens: int
    output_tokens: int


class Contract(NamedTuple):
    """What a request asks for. `cost_per_1k_usd` is USD per 1,000 tokens, prompt and answer together.

    `time_s` limits the time to the first token of a stream, or to the end of a whole answer.
    """

    time_s: float
    cost_per_1k_usd: float
    min_quality: float


class Noise(NamedTuple):
    """Factors of mean 1 on the phases of one request at one endpoint; every policy meets the same ones."""

    overhead: float
    prefill: float
    decode: float


class Request(NamedTuple):
    """One request. A router sees its category, its contract and its body, whose text has `chars` characters."""

    number: int
    at_s: float
    category: str
    ask: Ask
    chars: int
    answers: tuple[int, ...]  # tokens, by endpoint
    contract: Contract
    noise: tuple[Noise, ...]  # by endpoint

    @property
    def prompt_tokens(self) -> int:
        """The prompt's tokens, as servers count them."""
        return self.ask.prompt_tokens


class Server(Protocol):
    """The properties of an endpoint that a request's answers and noise depend on."""

    @property
    def sigma(self) -> float:
        """The spread of its noise."""

    @property
    def served(self) -> str:
        """The model."""

    @property
    def habits(self) -> Habits:
        """The endpoint's habits, which set the length of its answers."""


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
        """The time by which `expected` requests have arrived in the mean: the inverse of Λ."""
        before = self.per_s * self.start_s
        within = self.per_s * self.factor * (self.end_s - self.start_s)
        if expected <= before:
            return expected / self.per_s
        if expected <= before + within:
            return self.start_s + (expected - before) / (self.per_s * self.factor)
        return self.end_s + (expected - before - within) / self.per_s


def read_trace(path: Path) -> list[Size] | None:
    """Recorded sizes and gaps; `None` if the file is absent. Raises ValueError that names file and problem."""
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
    """Endless sizes: the trace from a random place on, again and again, or Poisson arrivals of log-normal sizes."""
    if trace is None:
        while True:
            prompt, output = PROMPTS.draw(rng), ANSWERS.draw(rng)
            yield Size(rng.expovariate(1.0), prompt, output)
    start = rng.randrange(len(trace))
    while True:
        yield from trace[start:]
        start = 0


def generate(
    trace: Sequence[Size] | None,
    rate: Rate,
    duration_s: float,
    servers: Sequence[Server],
    seed: int,
    *,
    draw: Draw = steady,
) -> list[Request]:
    """All requests of `duration_s` seconds. `draw` makes a request of a size."""
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
        ask = draw(rng, size.prompt_tokens, size.output_tokens)
        kind = KINDS[category]
        time_s = math.exp(rng.uniform(*map(math.log, kind.ttft_s if ask.stream else WHOLE_S)))
        contract = Contract(time_s, rng.choice(kind.cost_per_1k_usd), rng.choice(kind.min_quality))
        chars = max(1, round(CHARS_PER_TOKEN * ask.text_tokens * _factor(rng, SIZE_ERROR)))
        noise = tuple(Noise(*(_factor(rng, one.sigma) for _ in range(3))) for one in servers)
        models = {one.served: one.habits for one in servers}
        lengths = {model: habits.answer_tokens(ask, rng) for model, habits in models.items()}  # replicas write alike
        answers = tuple(lengths[one.served] for one in servers)
        requests.append(Request(len(requests), at_s, category, ask, chars, answers, contract, noise))
    return requests


def _factor(rng: random.Random, sigma: float) -> float:
    """A log-normal factor of mean 1."""
    return math.exp(rng.gauss(-sigma * sigma / 2, sigma)) if sigma else 1.0
