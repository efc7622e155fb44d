"""The record that a worker writes for each finished request, to the stream in Redis and to the JSONL file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slo_router.contract.metrics_hash import SCHEMA_VERSION


class SloRecord(BaseModel):
    """The SLO that a request was routed by: milliseconds, USD per 1,000 tokens, quality in 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    cost_per_1k: float | None = None
    min_quality: float | None = None


class TryRecord(BaseModel):
    """One attempt of a request at one deployment. Times are milliseconds since the request arrived."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deployment: str
    sent_ms: float | None
    deadline_ms: float | None = Field(description="by when its first content was to be there")
    first_token_ms: float | None
    ended_ms: float | None
    ending: str | None = Field(description="success, error, silent (given up), full, …")


class RequestRecord(BaseModel):
    """One finished request. Unmeasured fields are null, never 0."""

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
    hidden_tokens: int | None = Field(
        default=None, description="of the completion, reasoning that the client does not see, as reported"
    )
    ttft_ms: float | None
    tpot_ms: float | None = Field(description="of the tokens of one answer that the client sees")
    e2e_ms: float | None
    cost_usd: float | None
    slo: SloRecord
    slo_met: bool | None = Field(description="null where a field of the SLO could not be measured")
    outcome: Literal["success", "error", "disconnected", "cache_hit"]
    attempts: int
    tries: list[TryRecord] | None = Field(
        default=None, description="where one was silent, or its stream broke, and another was asked"
    )
    rescued: Literal["deadline"] | None = Field(default=None, description="another deployment answered than the silent")
    rescue_cost_usd: float | None = Field(default=None, description="that the silent one is expected to bill")
    error_class: str | None = None
    decision: dict[str, object] | None
    prompt: object = Field(default=None, description="only with log_prompts")
    answer: object = Field(default=None, description="only with log_prompts")
