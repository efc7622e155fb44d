"""The request record: what the workers write of each finished request, to the stream in Redis and to the JSONL file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slo_router.contract.metrics_hash import SCHEMA_VERSION


class SloRecord(BaseModel):
    """The SLO that a request was routed by, in the contract's units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    cost_per_1k: float | None = None
    min_quality: float | None = None


class RequestRecord(BaseModel):
    """One request, as written to the stream and the JSONL file. Unmeasured is null, never 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    ts: float = Field(description="Unix seconds at which the request ended")
    request_id: str
    call_type: str | None
    model_group: str | None
    deployment: str | None
    model: str | None
    category: str | None
    key_hash: str | None
    key_alias: str | None
    team_id: str | None
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = Field(default=None, description="of the prompt, read from a cache, as reported")
    written_tokens: int | None = Field(default=None, description="of the prompt, written to a cache, as reported")
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None
    cost_usd: float | None
    slo: SloRecord
    slo_met: bool | None = Field(description="null where a field of the SLO could not be measured")
    outcome: Literal["success", "error", "disconnected", "cache_hit"]
    attempts: int
    error_class: str | None = None
    decision: dict[str, object] | None
    prompt: object = Field(default=None, description="only with log_prompts")
    answer: object = Field(default=None, description="only with log_prompts")
