"""What became of a request, and whether that kept its contract. Pure."""

from __future__ import annotations

from typing import NamedTuple

from evaluation.face_off.arrivals import Arrival
from evaluation.face_off.world import BY_NAME


class Outcome(NamedTuple):
    """What the client saw. `deployment` answered, `error` is the error's name; `None` is not measured."""

    arrival: Arrival
    deployment: str | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class Verdict(NamedTuple):
    """An outcome held against the contract. A request that failed keeps nothing and costs `None`.

    `in_time` is about the first token of a stream, or the end of an answer in one piece.
    """

    in_time: bool
    cost: bool
    quality: bool
    cost_usd: float | None

    @property
    def kept(self) -> bool:
        """Whether the whole contract was kept."""
        return self.in_time and self.cost and self.quality


FAILED = Verdict(in_time=False, cost=False, quality=False, cost_usd=None)


def judge(outcome: Outcome) -> Verdict:
    """Judges each part of the contract on its own. A value equal to the limit keeps it."""
    deployment = BY_NAME.get(outcome.deployment or "")
    prompt_tokens, output_tokens = outcome.prompt_tokens, outcome.output_tokens
    contract = outcome.arrival.contract
    limit_s, taken_s = contract.e2e_s, outcome.e2e_s
    if limit_s is None:
        limit_s, taken_s = contract.ttft_s, outcome.ttft_s
    if outcome.error or deployment is None or taken_s is None or not prompt_tokens or output_tokens is None:
        return FAILED
    cost_usd = deployment.cost_usd(prompt_tokens, output_tokens)
    per_1k_usd = 1_000 * cost_usd / (prompt_tokens + output_tokens)
    return Verdict(
        in_time=taken_s <= limit_s,
        cost=per_1k_usd <= contract.cost_per_1k_usd,
        quality=deployment.quality >= contract.min_quality,
        cost_usd=cost_usd,
    )
