"""Reads request records, and rebuilds the decision's values from them.

The record is `contract.record.RequestRecord`, with `explain.as_json` as its decision. Here are the fields that reports,
replays and explanations need. They are decoded strictly, six times as fast as by the writer's model. Unknown fields are
ignored, for later versions may write some. An impossible number makes the line broken.
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
    """A candidate's prediction, in the record's units."""

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
    hidden_tokens: Amount | None = None
    quality_bound: Share | None = None  # what the floor was held against; `quality` is the mean
    quality_answers: dict[str, float] = {}  # graded answers behind it, as they weighed, by source
    quality_at_s: Amount | None = None  # when the newest of them was given

    @property
    def sure_quality(self) -> float | None:
        """What a floor is held against; an older record has only `quality`."""
        return self.quality if self.quality_bound is None else self.quality_bound


class Candidate(msgspec.Struct, frozen=True):
    """One deployment that the decision considered."""

    deployment: str
    predicted: Predicted
    standing: str = ""
    headroom: float | None = None
    missed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    scores: dict[str, float] | None = None
    probability: Share | None = None
    cached_tokens: Count = 0  # prompt tokens expected to be read from its cache
    leaving_usd: Amount | None = None  # cost of reading here what the conversation's deployment has cached
    shadow_usd: Amount = 0.0  # value of its place to other requests, where places were scarce


class Rejected(msgspec.Struct, frozen=True):
    """Why a candidate was rejected."""

    deployment: str
    filter: str
    value: float | str | None = None
    limit: float | str | None = None


class RecordedDecision(msgspec.Struct, frozen=True):
    """A decision, and what was known when it was made."""

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
    cached_tokens: Count = 0  # prompt tokens that the chosen deployment has cached of the conversation
    limit_tokens: Count | None = None  # the answer limit that the client asked for
    cost_interval_usd: tuple[Amount, Amount] | None = None  # of the chosen one
    choices: Count = 1  # answers asked for
    cached_at: str = ""  # the deployment that has the conversation cached, chosen or not
    relaxation: dict[str, float] = {}
    shadow: bool = False  # the decision had no effect: LiteLLM chose
    quality_confidence: Share | None = None  # of each `quality_bound`
    worth_usd: Amount | None = None  # of a quality of 1, where the objective was `value`


class AskedSlo(msgspec.Struct, frozen=True, gc=False):
    """The SLO that counted, in the record's units."""

    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    e2e_ms: Amount | None = None
    cost_per_1k: Amount | None = None
    min_quality: Share | None = None


class Recorded(msgspec.Struct, frozen=True):
    """One recorded request. `None` is unmeasured."""

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
    cached_tokens: Count | None = None  # read from a cache, as the provider reported
    written_tokens: Count | None = None  # written to a cache, as the provider reported
    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    e2e_ms: Amount | None = None
    cost_usd: Amount | None = None
    slo_met: bool | None = None
    attempts: Count = 1
    error_class: str | None = None
    decision: RecordedDecision | None = None


decode = msgspec.json.Decoder(Recorded).decode
"""One line → Recorded. Raises `msgspec.DecodeError` (a ValueError) if the line is not a record."""


def slo_of(record: Recorded) -> Slo:
    """The SLO that the request was routed by."""
    asked = record.slo
    return Slo(to_s(asked.ttft_ms), to_s(asked.tpot_ms), to_s(asked.e2e_ms), asked.cost_per_1k, asked.min_quality)


def features_of(record: Recorded, decision: RecordedDecision) -> Features:
    """The request's features, as the decision knew them."""
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
    """The record with the completion tokens that deployment `name` would have written, as far as the record tells.

    The answer is scaled by the ratio of the two deployments' expected lengths, up to the client's limit. A cut answer
    counts as longer by the expected length of a whole one.
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
    """A recorded prediction as a `Prediction`, times in seconds."""
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
        predicted.hidden_tokens,
        predicted.sure_quality,
        predicted.quality_answers,
        predicted.quality_at_s,
    )
