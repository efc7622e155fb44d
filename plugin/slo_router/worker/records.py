"""Turns LiteLLM's standard logging payload and a request's trace into the record of the contract. Pure.

`ttft_ms` and `e2e_ms` are what the client saw: from the request's arrival, failed attempts included. TTFT is known only
for streams whose first token passed through the plugin. LiteLLM's own TTFT is not used: it is that of the first chunk,
whatever that holds (a role, a filter notice).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from slo_router.contract import prices as pricing
from slo_router.contract.first_token import delta_has_token, shows_thought
from slo_router.contract.metrics_hash import MAX_VALUE
from slo_router.contract.model import Facts, Slo
from slo_router.contract.record import RequestRecord, TryRecord
from slo_router.contract.units import MS_PER_S
from slo_router.decision.explain import as_json, slo_record
from slo_router.worker.attempt import Attempt
from slo_router.worker.trace import Trace

Outcome = Literal["success", "error", "disconnected", "cache_hit"]


def build_record(
    payload: Mapping[str, object], trace: Trace, *, facts: Facts | None = None, log_prompts: bool = False
) -> RequestRecord:
    """The record of one finished request. `payload` is LiteLLM's `standard_logging_object`.

    `facts` are those of the deployment that answered; `None` where it is in no managed group.
    """
    outcome = outcome_of(payload)
    end_s = _number(payload.get("endTime"))
    ttft_s = _since(trace, trace.first_token_s) if outcome != "cache_hit" else None
    e2e_s = _since(trace, end_s)
    prompt_tokens, completion_tokens, cached_tokens, written_tokens, hidden_tokens = _tokens(payload, trace, outcome)
    tpot_s = _tpot_s(ttft_s, e2e_s, shown_tokens(completion_tokens, hidden_tokens, trace))
    cost_usd = _cost_usd(payload, outcome, facts, (prompt_tokens, completion_tokens), e2e_s)
    per_1k_usd = _per_1k_usd(cost_usd, (prompt_tokens or 0) + (completion_tokens or 0))
    measured = Slo(ttft_s, tpot_s, e2e_s, per_1k_usd, _selected_quality(trace))
    names = found if isinstance(found := payload.get("metadata"), Mapping) else {}
    return RequestRecord(
        ts=end_s if end_s is not None else trace.arrived_s,
        request_id=str(payload.get("id") or ""),
        call_type=trace.call_type,
        model_group=_text(payload.get("model_group")),
        deployment=_text(payload.get("model_id")),
        model=_text(payload.get("model")),
        category=None if trace.decision is None else trace.decision.features.category,
        key_hash=_text(names.get("user_api_key_hash")),
        key_alias=_text(names.get("user_api_key_alias")),
        team_id=_text(names.get("user_api_key_team_id")),
        stream=trace.stream,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached_tokens,
        written_tokens=written_tokens,
        hidden_tokens=hidden_tokens,
        ttft_ms=_ms(ttft_s),
        tpot_ms=_ms(tpot_s),
        e2e_ms=_ms(e2e_s),
        cost_usd=cost_usd,
        slo=slo_record(trace.slo),
        slo_met=False if _waited_too_long(trace, measured, outcome) else slo_met(trace.slo, measured, outcome),
        outcome=outcome,
        attempts=max(len(trace.sent_to), 1),
        tries=_tries(trace),
        rescued=None if trace.rescued is None or outcome == "error" else trace.rescued.kind,
        rescue_cost_usd=None if trace.rescue is None else trace.rescue.usd,
        error_class=_error_class(payload) if outcome == "error" else None,
        decision=None if trace.decision is None else {**as_json(trace.decision), "shadow": trace.is_shadow},
        prompt=payload.get("messages") if log_prompts else None,
        answer=payload.get("response") if log_prompts else None,
    )


def _tries(trace: Trace) -> list[TryRecord] | None:
    if trace.rescue is None and not trace.repeats:
        return None
    return [_try(attempt, trace) for attempt in trace.attempts if attempt.is_sent]


def _try(attempt: Attempt, trace: Trace) -> TryRecord:
    moments = (attempt.sent_s, attempt.deadline_s, attempt.first_token_s, attempt.ended_s)
    sent_ms, deadline_ms, first_token_ms, ended_ms = (_ms(_since(trace, moment_s)) for moment_s in moments)
    return TryRecord(
        deployment=attempt.deployment_id,
        sent_ms=sent_ms,
        deadline_ms=deadline_ms,
        first_token_ms=first_token_ms,
        ended_ms=ended_ms,
        ending=attempt.ending,
    )


def _tpot_s(ttft_s: float | None, e2e_s: float | None, tokens: float | None) -> float | None:
    if ttft_s is None or e2e_s is None or tokens is None or tokens <= 1:
        return None
    return (e2e_s - ttft_s) / (tokens - 1)


def shown_tokens(completion_tokens: int | None, hidden_tokens: int | None, trace: Trace) -> float | None:
    """The tokens of one answer that the client sees. The tokens of several answers (`n`) are divided equally."""
    if completion_tokens is None:
        return None
    choices = 1 if trace.decision is None else trace.decision.features.choices
    return (completion_tokens - (hidden_tokens or 0)) / choices


def _hidden(payload: Mapping[str, object], completion_tokens: int | None) -> int | None:
    """The reasoning tokens that the client does not see; `None` where the usage does not report them."""
    said = usage_of(payload).get("completion_tokens_details")
    reported = _count(said.get("reasoning_tokens")) if isinstance(said, Mapping) else None
    if reported is None or completion_tokens is None:
        return None
    return 0 if shows_thought(payload.get("response")) else min(reported, completion_tokens)


def usage_of(payload: Mapping[str, object]) -> Mapping[str, object]:
    """The usage that LiteLLM read from an answer; empty where it read none."""
    metadata = payload.get("metadata")
    usage = metadata.get("usage_object") if isinstance(metadata, Mapping) else None
    return usage if isinstance(usage, Mapping) else {}


def _tokens(payload: Mapping[str, object], trace: Trace, outcome: Outcome) -> tuple[int | None, ...]:
    """Tokens of the prompt, of the answer, read from a cache, written to a cache, and hidden from the client."""
    prompt_tokens, completion_tokens = _usage(payload, trace, outcome)
    return prompt_tokens, completion_tokens, *_caching(payload, prompt_tokens), _hidden(payload, completion_tokens)


def _usage(payload: Mapping[str, object], trace: Trace, outcome: Outcome) -> tuple[int | None, int | None]:
    """Tokens of prompt and answer, as LiteLLM bills them; `None` for its 0 where a server's usage was empty or lost."""
    if outcome == "error":
        return None, None
    prompt_tokens, completion_tokens = _count(payload.get("prompt_tokens")), _count(payload.get("completion_tokens"))
    if not prompt_tokens and outcome != "cache_hit":  # no prompt is empty
        return None, completion_tokens or None
    if not completion_tokens and answer_began(payload, trace):  # a streamed answer is not empty
        completion_tokens = None
    return prompt_tokens, completion_tokens


def _caching(payload: Mapping[str, object], prompt_tokens: int | None) -> tuple[int | None, int | None]:
    """Tokens of the prompt that were read from a cache and written to it; `None` where the usage does not say."""
    usage = usage_of(payload)
    if not usage or not prompt_tokens or outcome_of(payload) == "cache_hit":
        return None, None
    said = usage.get("prompt_tokens_details")
    details = said if isinstance(said, Mapping) else {}
    cached = (details.get("cached_tokens"), usage.get("cache_read_input_tokens"))
    written = (details.get("cache_creation_tokens"), usage.get("cache_creation_input_tokens"))
    return _told(cached, prompt_tokens), _told(written, prompt_tokens)


def _told(counts: tuple[object, object], prompt_tokens: int) -> int | None:
    """The first of `counts` that is a count, at most the whole prompt; `None` if there is none."""
    known = next((count for count in map(_count, counts) if count is not None), None)
    return None if known is None else min(known, prompt_tokens)


def _cost_usd(
    payload: Mapping[str, object],
    outcome: Outcome,
    facts: Facts | None,
    tokens: tuple[int | None, int | None],
    e2e_s: float | None,
) -> float | None:
    """What LiteLLM booked; if that is 0, the cost by the deployment's prices: LiteLLM books 0 where it knows none."""
    booked_usd = _number(payload.get("response_cost")) if outcome != "error" else None
    if booked_usd or facts is None or outcome not in ("success", "disconnected"):
        return booked_usd
    prompt_tokens, completion_tokens = tokens
    if prompt_tokens is None or completion_tokens is None:
        return None
    return pricing.cost_usd(facts, prompt_tokens, completion_tokens, seconds=e2e_s)


def _per_1k_usd(cost_usd: float | None, tokens: int) -> float | None:
    return None if cost_usd is None or not tokens else cost_usd * 1_000 / tokens


def _waited_too_long(trace: Trace, measured: Slo, outcome: Outcome) -> bool:
    """Whether the client left a stream after its limit for the first token, without a token."""
    limit_s, waited_s = trace.slo.ttft_s, measured.e2e_s
    if outcome != "disconnected" or not trace.stream or measured.ttft_s is not None:
        return False
    return limit_s is not None and waited_s is not None and waited_s > limit_s


def answer_began(payload: Mapping[str, object], trace: Trace) -> bool:
    """Whether anything was streamed, if only a role. If not, LiteLLM sets the first chunk's time to that of the end."""
    first_s, end_s = _number(payload.get("completionStartTime")), _number(payload.get("endTime"))
    return trace.stream and first_s is not None and (end_s is None or first_s < end_s)


def slo_met(slo: Slo, measured: Slo, outcome: Outcome) -> bool | None:
    """Whether every limit of the SLO was kept; `None` where no limit is known to be broken, but one was not measured.

    An error never meets an SLO. Quality cannot be measured for a request: the deployment's quality counts instead.
    """
    if outcome == "error":
        return False
    unknown = False
    for position, (limit, value) in enumerate(zip(slo, measured, strict=True)):
        if limit is None:
            continue
        if value is None:
            unknown = True
        elif value < limit if position == _QUALITY else value > limit:
            return False
    return None if unknown else True


_QUALITY = Slo._fields.index("min_quality")


def outcome_of(payload: Mapping[str, object]) -> Outcome:
    """How a request ended, by LiteLLM's `standard_logging_object`."""
    if payload.get("status") == "failure":
        return "error"
    if payload.get("cache_hit") is True:
        return "cache_hit"
    if "client disconnected" in str(payload.get("error_str") or "").lower():
        return "disconnected"
    return "success"


def has_nothing(payload: Mapping[str, object], trace: Trace) -> bool:
    """Whether an unstreamed answer has no content, no usage, and no finish reason that would explain that.

    A server's error with status 200 may look so, and LiteLLM takes it for an answer.
    """
    answer = payload.get("response")
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if trace.stream or not isinstance(choices, list) or outcome_of(payload) != "success":
        return False
    if payload.get("prompt_tokens") or payload.get("completion_tokens"):
        return False
    return not any(isinstance(choice, Mapping) and _says_anything(choice) for choice in choices)


def _says_anything(choice: Mapping[str, object]) -> bool:
    has_reason = choice.get("finish_reason") not in (None, "stop")
    return has_reason or bool(choice.get("text")) or delta_has_token(choice.get("message"))


def ended_by_itself(payload: Mapping[str, object]) -> bool | None:
    """Whether an answer says that it is complete, not cut at a limit; `None` where it does not say how it ended."""
    answer = payload.get("response")
    if not isinstance(answer, Mapping) or outcome_of(payload) != "success":
        return None
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        said = [choice.get("finish_reason") for choice in choices if isinstance(choice, Mapping)]
        return all(reason in _ENDED for reason in said) if any(said) else None
    said_once = answer.get("stop_reason") or answer.get("status")  # messages, responses
    return None if said_once is None else said_once in _ENDED


_ENDED = ("stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "completed")


def _error_class(payload: Mapping[str, object]) -> str | None:
    information = payload.get("error_information")
    return _text(information.get("error_class")) if isinstance(information, Mapping) else None


def _selected_quality(trace: Trace) -> float | None:
    if trace.decision is None:
        return None
    # In shadow the deployment that answered may be another than the decision's.
    answered = trace.sent_to[-1] if trace.sent_to else trace.decision.deployment_id
    return next((a.prediction.quality_bound for a in trace.decision.assessments if a.deployment_id == answered), None)


def _since(trace: Trace, moment_s: float | None) -> float | None:
    return None if moment_s is None else max(moment_s - trace.arrived_s, 0.0)


def _number(value: object) -> float | None:
    """A number that a cost or a time can be: finite, and not below 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_VALUE else None


def _count(value: object) -> int | None:
    """A count of tokens; some servers report 12.0."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _text(value: object) -> str | None:
    return str(value) if value else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * MS_PER_S, 3)
