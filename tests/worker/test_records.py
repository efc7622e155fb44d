"""One request's record: what the client saw, the outcome, and whether the SLO was kept. Unmeasured is None, never 0."""

from __future__ import annotations

import copy

import pytest

from slo_router.contract.model import Facts, Metrics, Slo
from slo_router.contract.record import RequestRecord, SloRecord
from slo_router.operator.replay.recorded import decode
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import Outcome, build_record, slo_met
from slo_router.worker.trace import TRACE_KEY, Rescue, Trace, find_trace, own_metadata
from tests.shared.builders import NOW_S, decided, measured

FACTS = Facts("small", "m", None, None, 1e-6, 1e-6, quality={"default": 0.7})
DECISION = decided([FACTS], snapshot=measured(small=Metrics(NOW_S, 0.1)))
# A stream of 300 prompt and 100 completion tokens: a role after 0.06 s, the first token after 0.25 s, the last after
# 2.23 s.
STREAM: dict[str, object] = {
    "id": "chatcmpl-1",
    "status": "success",
    "stream": True,
    "model": "m",
    "model_id": "small",
    "model_group": "smart",
    "startTime": NOW_S + 0.05,
    "completionStartTime": NOW_S + 0.06,
    "endTime": NOW_S + 2.23,
    "prompt_tokens": 300,
    "completion_tokens": 100,
    "response_cost": 0.0004,
    "messages": [{"role": "user", "content": "secret"}],
    "response": {"answer": "also secret"},
    "metadata": {"user_api_key_hash": "h", "user_api_key_alias": "alias", "user_api_key_team_id": "team"},
}


NO_SLO = Slo()


def sent(deployment_id: str) -> list[Attempt]:
    return [Attempt(deployment_id, is_sent=True)]


def trace(slo: Slo = NO_SLO, *, stream: bool = True, first_token_s: float | None = NOW_S + 0.25) -> Trace:
    made = Trace("acompletion", NOW_S, stream=stream, slo=slo, decision=DECISION, attempts=sent("small"))
    if stream and first_token_s is not None:
        made.saw_token(first_token_s)
    return made


def rescued() -> Trace:
    """`small` was silent from 0.05 s on, for 0.5 s; `large` was then asked and had its first token at 0.9 s."""
    silent = Attempt("small", is_sent=True, ending="silent", is_given_up=True)
    silent.sent_s, silent.deadline_s, silent.ended_s = NOW_S + 0.05, NOW_S + 0.5, NOW_S + 0.55
    answered = Attempt("large", is_sent=True, sent_s=NOW_S + 0.56, first_token_s=NOW_S + 0.9)
    made = trace(first_token_s=None)
    made.attempts = [silent, answered]
    made.rescue = Rescue("deadline", silent, 0.0003)
    return made


def test_a_rescued_request_says_who_was_silent_for_how_long_and_what_that_costs_apart() -> None:
    found = build_record(STREAM | {"model_id": "large"}, rescued())
    assert found.tries is not None
    silent, answered = found.tries
    assert (silent.deployment, silent.ending, silent.first_token_ms) == ("small", "silent", None)
    assert (silent.sent_ms, silent.deadline_ms, silent.ended_ms) == pytest.approx((50, 500, 550), abs=0.01)
    assert (answered.deployment, answered.first_token_ms) == ("large", pytest.approx(900, abs=0.01))
    assert (found.rescued, found.rescue_cost_usd, found.cost_usd) == ("deadline", 0.0003, 0.0004)
    assert decode(found.model_dump_json()) is not None  # replay reads it


def test_a_request_whose_other_attempts_failed_too_was_not_rescued() -> None:
    failed = build_record({"status": "failure", "endTime": NOW_S + 2}, rescued())
    assert failed.rescued is None
    assert failed.rescue_cost_usd == 0.0003
    alone = rescued()
    alone.attempts = alone.attempts[:1]  # nobody else could be asked
    assert build_record(STREAM, alone).rescued is None


def record(**changes: object) -> RequestRecord:
    """Of the stream, with changes to LiteLLM's payload."""
    return build_record(STREAM | changes, trace())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 120}}, (120, None)),  # OpenAI, vLLM
        ({"prompt_tokens_details": {"cached_tokens": 0}}, (0, None)),
        ({"prompt_tokens_details": {"cached_tokens": None}}, (None, None)),
        ({"prompt_tokens_details": None, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0}, (7, 0)),
        ({"prompt_tokens_details": {"cached_tokens": 120, "cache_creation_tokens": 80}}, (120, 80)),  # Anthropic
        ({"prompt_tokens_details": {"cached_tokens": 1_000}}, (300, None)),  # more than the whole prompt
        ({"prompt_tokens_details": "none"}, (None, None)),
        (None, (None, None)),
    ],
)
def test_what_was_read_from_a_cache_is_what_the_usage_says_and_unknown_where_it_says_nothing(
    usage: object, expected: tuple[int | None, int | None]
) -> None:
    found = record(metadata={"usage_object": usage})
    assert (found.cached_tokens, found.written_tokens) == expected
    again = decode(found.model_dump_json())
    assert (again.cached_tokens, again.written_tokens) == expected
    assert record(metadata={"usage_object": usage}, cache_hit=True).cached_tokens is None


def test_a_stream_is_recorded_with_what_the_client_saw() -> None:
    found = build_record(STREAM, trace(Slo(ttft_s=0.3, cost_per_1k_usd=0.0011)))
    assert (found.ts, found.request_id, found.call_type) == (NOW_S + 2.23, "chatcmpl-1", "acompletion")
    assert (found.ttft_ms, found.e2e_ms) == (250.0, 2230.0)  # from the arrival, not from the attempt's start
    assert found.tpot_ms == 20.0  # (2.23 − 0.25) / 99
    assert (found.prompt_tokens, found.completion_tokens, found.cost_usd) == (300, 100, 0.0004)
    assert (found.deployment, found.model, found.model_group, found.category) == ("small", "m", "smart", "ner")
    assert (found.key_hash, found.key_alias, found.team_id) == ("h", "alias", "team")
    assert (found.outcome, found.attempts, found.error_class, found.stream) == ("success", 1, None, True)
    assert found.slo == SloRecord(ttft_ms=300.0, cost_per_1k=0.0011)
    assert found.slo_met is True  # 250 ≤ 300 ms; 0.0004 × 1,000 / 400 = 0.001 ≤ 0.0011
    assert build_record(STREAM, trace(Slo(cost_per_1k_usd=0.0009))).slo_met is False
    assert found.decision is not None
    assert found.decision["deployment"] == "small"


def test_a_non_stream_has_no_first_token_time() -> None:
    """LiteLLM sets it to the last token's there."""
    found = build_record(STREAM | {"completionStartTime": NOW_S + 2.23}, trace(stream=False))
    assert (found.ttft_ms, found.tpot_ms, found.e2e_ms, found.stream) == (None, None, 2230.0, False)


def test_a_stream_of_which_no_token_was_seen_has_no_first_token_time_whatever_litellm_marks() -> None:
    """Its mark is the first chunk, which may be a role, and the end where there was none."""
    found = build_record(STREAM, trace(Slo(ttft_s=0.3), first_token_s=None))
    assert (found.ttft_ms, found.tpot_ms, found.e2e_ms, found.slo_met) == (None, None, 2230.0, None)


@pytest.mark.parametrize(("limit_s", "met"), [(3.0, None), (1.0, False)])
def test_a_client_that_left_before_a_token_waited_longer_than_its_limit_or_it_is_not_known(
    limit_s: float, met: bool | None
) -> None:
    left = STREAM | {"error_str": "Client disconnected"}
    assert build_record(left, trace(Slo(ttft_s=limit_s), first_token_s=None)).slo_met is met
    assert build_record(left, trace(Slo(ttft_s=limit_s), stream=False)).slo_met is None  # no token is seen of those


def test_a_cache_hit_has_no_first_token_time_and_costs_what_litellm_says() -> None:
    found = record(cache_hit=True, response_cost=0.0)
    assert (found.outcome, found.ttft_ms, found.tpot_ms, found.cost_usd) == ("cache_hit", None, None, 0.0)


def test_a_client_that_left_is_disconnected_and_keeps_what_was_measured() -> None:
    found = record(error_str="Client disconnected mid-stream")
    assert (found.outcome, found.ttft_ms, found.completion_tokens) == ("disconnected", 250.0, 100)


def test_an_error_has_its_class_and_neither_tokens_nor_cost() -> None:
    """LiteLLM reports 0 tokens and 0 USD for a failure: nothing was measured."""
    cause = {"error_class": "RateLimitError"}
    nothing: dict[str, object] = {"prompt_tokens": 0, "completion_tokens": 0, "response_cost": 0.0}
    ended = STREAM | nothing | {"completionStartTime": NOW_S + 2.23}
    found = build_record(ended | {"status": "failure", "error_information": cause}, trace(first_token_s=None))
    assert (found.outcome, found.error_class, found.slo_met) == ("error", "RateLimitError", False)
    assert (found.prompt_tokens, found.completion_tokens, found.cost_usd, found.ttft_ms) == (None, None, None, None)
    assert found.e2e_ms == 2230.0


def test_a_stream_that_died_keeps_the_first_token_time_it_had() -> None:
    found = record(status="failure")
    assert (found.outcome, found.ttft_ms, found.tpot_ms) == ("error", 250.0, None)


@pytest.mark.parametrize("tokens", [None, 0, 1])
def test_below_two_tokens_there_is_no_time_per_token(tokens: int | None) -> None:
    assert record(completion_tokens=tokens).tpot_ms is None


def test_what_the_payload_lacks_is_none() -> None:
    found = build_record({}, Trace("acompletion", NOW_S))
    unmeasured = (found.ttft_ms, found.tpot_ms, found.e2e_ms, found.cost_usd, found.prompt_tokens, found.slo_met)
    assert unmeasured == (None, None, None, None, None, True)  # an SLO that asks for nothing is met
    assert (found.ts, found.request_id, found.deployment, found.decision, found.category) == (NOW_S, "", *[None] * 3)
    assert found.attempts == 1


@pytest.mark.parametrize("value", ["3", None, True, [], {}])
def test_a_payload_of_wrong_types_is_unmeasured(value: object) -> None:
    found = record(endTime=value, completionStartTime=value, prompt_tokens=value, response_cost=value, metadata=value)
    assert (found.e2e_ms, found.tpot_ms, found.prompt_tokens, found.cost_usd, found.key_hash) == (None,) * 5


@pytest.mark.parametrize(
    ("price", "cached", "expected"),
    [
        (1e-6, False, 0.0004),  # 300 + 100 tokens: LiteLLM books 0 where it does not know the deployment's price
        (None, False, None),  # nor do we: unknown is not zero
        (0.0, False, 0.0),  # a free model says so
        (1e-6, True, 0.0),  # an answer from the cache costs nothing
    ],
)
def test_a_cost_of_zero_is_believed_only_where_it_is_one(
    price: float | None, cached: bool, expected: float | None
) -> None:
    facts = Facts("small", "m", None, None, price, price)
    found = build_record(STREAM | {"response_cost": 0.0, "cache_hit": cached}, trace(), facts=facts)
    assert found.cost_usd == (None if expected is None else pytest.approx(expected))
    assert build_record(STREAM, trace(), facts=facts).cost_usd == 0.0004  # what LiteLLM books counts


def test_a_stream_that_began_to_answer_has_no_zero_tokens() -> None:
    assert record(completion_tokens=0).completion_tokens is None
    assert build_record(STREAM | {"completion_tokens": 0}, trace(stream=False)).completion_tokens == 0


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        (0, 0, (None, None)),  # `{}`, or none: LiteLLM says 0
        (0, 5, (None, 5)),
        (12, 0, (12, 0)),  # an empty answer
        (-12, -5, (None, None)),
        (12, -1, (12, None)),
        (12.0, 5.0, (12, 5)),
        (12.5, 5, (None, 5)),
        ("12", None, (None, None)),
        (10**15, 5, (None, 5)),
        (True, True, (None, None)),
        (float("nan"), float("inf"), (None, None)),
    ],
)
def test_usage_that_cannot_be_true_is_unknown(
    prompt: object, completion: object, expected: tuple[int | None, ...]
) -> None:
    payload = STREAM | {"prompt_tokens": prompt, "completion_tokens": completion, "response_cost": 0.0}
    found = build_record(payload, trace(stream=False), facts=FACTS)
    assert (found.prompt_tokens, found.completion_tokens) == expected
    assert (found.cost_usd is None) == (None in expected)
    assert decode(found.model_dump_json()).prompt_tokens == expected[0]  # what is written is read
    assert record(cache_hit=True, prompt_tokens=0, completion_tokens=0).prompt_tokens == 0


def test_every_attempt_that_was_sent_counts() -> None:
    tried = trace()
    tried.attempts = [*sent("large"), Attempt("medium"), *sent("small")]
    assert build_record(STREAM, tried).attempts == 2


def test_prompt_and_answer_are_recorded_only_where_asked_for() -> None:
    assert "secret" not in record().model_dump_json()
    loud = build_record(STREAM, trace(), log_prompts=True)
    assert (loud.prompt, loud.answer) == (STREAM["messages"], STREAM["response"])


# --- was the SLO kept


@pytest.mark.parametrize(
    ("slo", "measured_", "outcome", "met"),
    [
        (Slo(), Slo(), "success", True),
        (Slo(ttft_s=0.2), Slo(ttft_s=0.2), "success", True),
        (Slo(ttft_s=0.2), Slo(ttft_s=0.21), "success", False),
        (Slo(ttft_s=0.2), Slo(), "success", None),  # not measured is neither
        (Slo(ttft_s=0.2, e2e_s=1.0), Slo(e2e_s=2.0), "success", False),  # one broken field is enough
        (Slo(ttft_s=0.2, e2e_s=1.0), Slo(e2e_s=0.5), "success", None),
        (Slo(cost_per_1k_usd=0.0), Slo(cost_per_1k_usd=0.0), "success", True),
        (Slo(min_quality=0.7), Slo(min_quality=0.7), "success", True),
        (Slo(min_quality=0.7), Slo(min_quality=0.6), "success", False),
        (Slo(min_quality=0.7), Slo(), "success", None),
        (Slo(), Slo(), "error", False),  # an error meets nothing
        (Slo(e2e_s=1.0), Slo(e2e_s=0.1), "cache_hit", True),
        (Slo(e2e_s=1.0), Slo(e2e_s=0.1), "disconnected", True),
    ],
)
def test_slo_met_is_true_false_or_unknown(slo: Slo, measured_: Slo, outcome: Outcome, met: bool | None) -> None:
    assert slo_met(slo, measured_, outcome) is met


def test_the_deployments_quality_stands_for_the_answers() -> None:
    assert build_record(STREAM, trace(Slo(min_quality=0.7))).slo_met is True
    assert build_record(STREAM, trace(Slo(min_quality=0.71))).slo_met is False


def test_a_non_streams_first_token_limit_cannot_be_judged() -> None:
    assert build_record(STREAM, trace(Slo(ttft_s=9.0), stream=False)).slo_met is None


# --- the trace


def test_copies_of_the_metadata_share_the_trace() -> None:
    one = trace()
    assert copy.copy(one) is one
    assert copy.deepcopy({"metadata": {TRACE_KEY: one}})["metadata"][TRACE_KEY] is one
    assert repr(one) == "slo_router met: small"  # LiteLLM may log metadata: no SLO, no key
    assert repr(Trace("acompletion", NOW_S)) == "slo_router"


def test_the_trace_is_found_on_every_route_and_never_taken_from_a_client() -> None:
    one = trace()
    assert find_trace({"metadata": {TRACE_KEY: one}}) is one
    assert find_trace({"metadata": {}, "litellm_metadata": {TRACE_KEY: one}}) is one
    assert find_trace({"metadata": {TRACE_KEY: {"decision": "mine"}}}) is None
    assert find_trace({"metadata": None}) is None
    assert find_trace(None) is None


def test_a_mirrored_call_has_no_part_in_the_trace_that_it_carries() -> None:
    """LiteLLM's `silent_model` sends a copy of the request, metadata included, whose answer no client gets."""
    assert find_trace({"metadata": {TRACE_KEY: trace(), "is_silent_experiment": True}}) is None


def test_litellms_own_metadata_is_taken_before_the_clients() -> None:
    assert own_metadata({"litellm_metadata": {"a": 1}, "metadata": {"b": 2}}) == {"a": 1}
    assert own_metadata({"metadata": {"b": 2}}) == {"b": 2}
    assert own_metadata({"metadata": None}) is None
