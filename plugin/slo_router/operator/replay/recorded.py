"""A request record as it is read back, and the decision's own values rebuilt from it.

The record is the contract's (`contract.RequestRecord`, with `explain.as_json` as its decision); here stand the fields
that reports, replays and explanations need, decoded strictly and six times as fast as the writer's model validates.
Unknown fields are left alone, for later versions may write them; a number that cannot be true makes the line broken.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from slo_router.contract.model import Basis, Features, Prediction, Slo
from slo_router.contract.units import to_s

MAX_VALUE = 1e12

Amount = Annotated[float, msgspec.Meta(ge=0, le=MAX_VALUE)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Predicted(msgspec.Struct, frozen=True, gc=False):
    """What a candidate was expected to do, in the contract's units."""

    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    e2e_ms: Amount | None = None
    cost_usd: Amount | None = None
    cost_per_1k: Amount | None = None
    quality: Share | None = None
    error_rate: Share | None = None
    basis: Basis = "none"
    age_s: float | None = None
    samples: Count | None = None
    in_flight: Amount = 0.0
    output_tokens: Amount | None = None
    longest_tokens: Amount | None = None
    answer_tokens: Amount | None = None


class Candidate(msgspec.Struct, frozen=True):
    """One deployment that could have answered."""

    deployment: str
    predicted: Predicted
    standing: str = ""
    headroom: float | None = None
    missed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    scores: dict[str, float] | None = None
    probability: Share | None = None
    cached_tokens: Count = 0  # of the prompt, expected to be read from its cache
    leaving_usd: Amount | None = None  # for reading again what the conversation's deployment has cached
    shadow_usd: Amount = 0.0  # what its place was worth to others, where places were scarce


class Rejected(msgspec.Struct, frozen=True):
    """Why a candidate was ruled out."""

    deployment: str
    filter: str
    value: float | str | None = None
    limit: float | str | None = None


class RecordedDecision(msgspec.Struct, frozen=True):
    """What was decided, and what was known then."""

    policy: str
    kind: str
    deployment: str
    reason: str
    category: str
    category_source: str
    estimated_prompt_tokens: Count
    expected_output_tokens: Count
    reserved_tokens: Count
    needs: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejected, ...]
    probability: Share | None = None
    cached_tokens: Count = 0  # of the prompt, where the chosen deployment has seen the conversation before
    limit_tokens: Count | None = None  # the answer limit that the client asked for
    cost_interval_usd: tuple[Amount, Amount] | None = None  # of the chosen one
    choices: Count = 1  # answers that were asked for
    cached_at: str = ""  # the deployment that has seen it, chosen or not
    relaxation: dict[str, float] = {}
    shadow: bool = False  # LiteLLM chose, and this is what would have been


class AskedSlo(msgspec.Struct, frozen=True, gc=False):
    """The SLO that counted, in the contract's units."""

    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    e2e_ms: Amount | None = None
    cost_per_1k: Amount | None = None
    min_quality: Share | None = None


class Recorded(msgspec.Struct, frozen=True):
    """One request. `None` is unmeasured."""

    ts: Annotated[float, msgspec.Meta(ge=0, le=MAX_VALUE)]  # Unix seconds at the end
    request_id: str
    outcome: Literal["success", "error", "disconnected", "cache_hit"]
    slo: AskedSlo
    model_group: str | None = None
    deployment: str | None = None
    category: str | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    team_id: str | None = None
    stream: bool = False
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cached_tokens: Count | None = None  # as the provider reported
    written_tokens: Count | None = None  # likewise, to a cache
    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    e2e_ms: Amount | None = None
    cost_usd: Amount | None = None
    slo_met: bool | None = None
    attempts: Count = 1
    error_class: str | None = None
    decision: RecordedDecision | None = None


decode = msgspec.json.Decoder(Recorded).decode
"""One line → Recorded. Raises `msgspec.DecodeError` (a ValueError) where it is none."""


def slo_of(record: Recorded) -> Slo:
    """The SLO that the request was routed by."""
    asked = record.slo
    return Slo(to_s(asked.ttft_ms), to_s(asked.tpot_ms), to_s(asked.e2e_ms), asked.cost_per_1k, asked.min_quality)


def features_of(record: Recorded, decision: RecordedDecision) -> Features:
    """What the decision knew of the request."""
    return Features(
        category=decision.category,
        category_source=decision.category_source,
        prompt_tokens=decision.estimated_prompt_tokens,
        output_tokens=decision.expected_output_tokens,
        reserved_tokens=decision.reserved_tokens,
        needs=frozenset(decision.needs),
        stream=record.stream,
        limit_tokens=decision.limit_tokens,
        choices=decision.choices or 1,
    )


def as_written_by(record: Recorded, name: str) -> Recorded:
    """The request with as many tokens as this deployment would have answered it with, as far as the record tells.

    Another model writes as much more or less as was expected of it, and no more than the client allowed. An answer that
    was cut there would have become longer by as much as was expected of a whole one.
    """
    decision, written = record.decision, record.completion_tokens
    if decision is None or not written or name == record.deployment:
        return record
    expected = {one.deployment: one.predicted.answer_tokens for one in decision.candidates}
    own, other = expected.get(record.deployment or ""), expected.get(name)
    if not own or not other:
        return record
    choices, limit = decision.choices or 1, decision.limit_tokens
    whole = written / choices
    if limit is None:
        return replace(record, completion_tokens=round(whole * other / own) * choices)
    if whole >= limit:
        whole += own
    return replace(record, completion_tokens=min(round(whole * other / own), limit) * choices)


def prediction_of(predicted: Predicted) -> Prediction:
    """What the decision expected of a candidate."""
    return Prediction(
        to_s(predicted.ttft_ms),
        to_s(predicted.tpot_ms),
        to_s(predicted.e2e_ms),
        predicted.cost_usd,
        predicted.cost_per_1k,
        predicted.quality,
        predicted.error_rate,
        predicted.basis,
        predicted.age_s,
        predicted.samples,
        predicted.in_flight,
        predicted.output_tokens,
        predicted.longest_tokens,
        predicted.answer_tokens,
    )
