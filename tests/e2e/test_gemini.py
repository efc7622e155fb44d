"""Requests on Gemini's own routes are routed as all others are: those of Google's SDK and of Gemini CLI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx
import pytest

from evaluation.routing.first_token.streams import candidate
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import ASK, LITELLM, Stack
from tests.shared.particular_server import GOOD, Particular, refuse, whole
from tests.shared.scripted_server import stream as streamed

ROUTES = {False: "/v1beta/models/{}:generateContent", True: "/v1beta/models/{}:streamGenerateContent?alt=sse"}
QUESTION = {"role": "user", "parts": [{"text": ASK}]}
FOUND = "word " * 2_400  # 3,000 tokens; small has room for 2,000
CALLED = {"role": "model", "parts": [{"functionCall": {"name": "read", "args": {}}}]}
READ = {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": FOUND}}}]}
READS = {"functionDeclarations": [{"name": "read", "parameters": {"type": "OBJECT"}}]}
IN_STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def ask(
    stack: Stack, *, stream: bool, group: str = "smart", body: Mapping[str, object] | None = None, **headers: str
) -> httpx.Response:
    """One request."""
    return stack.post(ROUTES[stream].format(group), {"contents": [QUESTION], **(body or {})}, **headers)


@IN_STREAMS
def test_it_goes_to_the_cheapest_deployment_that_meets_the_slo_and_leaves_a_record(stack: Stack, stream: bool) -> None:
    answer = ask(stack, stream=stream, body={"user_slo": {"maxLatencyMs": 900}}, x_slo_min_quality="0.7")

    assert (answer.status_code, stack.seen()) == (200, {"medium": 1}), answer.text
    assert "[medium]" in answer.text
    said = {name: answer.headers[f"x-slo-{name}"] for name in ("selected-model", "decision", "category")}
    assert said == {"selected-model": "medium", "decision": "met", "category": "summarization"}
    assert "user_slo" not in stack.endpoints["medium"].seen()[0].body_keys
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["stream"]) == ("success", "medium", stream)
    assert record["call_type"] == ("agenerate_content_stream" if stream else "agenerate_content")
    found = RequestRecord.model_validate(record)
    assert found.cost_usd == pytest.approx((found.prompt_tokens or 0) * 5e-7 + (found.completion_tokens or 0) * 1e-6)
    assert (record["ttft_ms"] is not None) is stream
    assert (found.slo.ttft_ms, found.slo_met) == (900.0, True if stream else None)


@IN_STREAMS
def test_all_that_the_history_holds_needs_room(stack: Stack, stream: bool) -> None:
    """The category is that of the question, not of a tool's answer."""
    answer = ask(stack, stream=stream, body={"contents": [QUESTION, CALLED, READ], "tools": [READS]})

    assert (answer.status_code, stack.seen()) == (200, {"medium": 1}), answer.text
    assert answer.headers["x-slo-category"] == "summarization"


@IN_STREAMS
def test_another_answers_for_a_failing_endpoint(stack: Stack, stream: bool) -> None:
    stack.endpoints["small"].control("error500")
    answer = ask(stack, stream=stream)

    (record,) = stack.records(1)
    assert (answer.status_code, stack.seen()) == (200, {"small": 1, "medium": 1}), answer.text
    assert (record["outcome"], record["deployment"]) == ("success", "medium")
    assert record["attempts"] == 2 or LITELLM < (1, 108)  # older versions may not report the first attempt


def test_a_malformed_wish_is_refused(stack: Stack) -> None:
    answer = ask(stack, stream=True, x_slo_ttft_ms="soon")
    assert (answer.status_code, stack.seen()) == (400, {})
    assert "x-slo-ttft-ms: 'soon' is not valid" in answer.text


def test_a_client_that_leaves_is_a_disconnect(stack: Stack) -> None:
    stack.endpoints["small"].control("slow", factor=20)
    url = stack.proxy.url + ROUTES[True].format("smart")
    body = {"contents": [QUESTION]}
    with httpx.stream("POST", url, json=body, headers=stack.proxy.auth, timeout=60) as answer:
        next(line for line in answer.iter_lines() if "[small]" in line)  # the first word
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"]) == ("disconnected", "small")
    assert record["ttft_ms"] is not None


@pytest.fixture
def server(odd: Particular) -> Iterator[Particular]:
    yield odd
    odd.answers = lambda _: GOOD


OF_ODD = (b"gemini-2.5-flash", b"odd")  # LiteLLM bills the price of the model that the answer names
WORDS = [
    candidate({"text": "Yes, "}).replace(*OF_ODD),
    candidate({"text": "it is."}, finishReason="STOP").replace(*OF_ODD),
]
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
    "modelVersion": "odd",
}


@IN_STREAMS
def test_google_s_own_model_has_a_record_with_tokens_and_cost(stack: Stack, server: Particular, stream: bool) -> None:
    server.answers = lambda _: whole(streamed(*WORDS)) if stream else refuse(200, ANSWER)
    answer = ask(stack, stream=stream, group="google")

    assert "Yes" in answer.text, answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["model_group"]) == ("success", "google-odd", "google")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (9, 4)
    assert record["cost_usd"] == pytest.approx(9 * 1e-6 + 4 * 2e-6)
    assert (record["ttft_ms"] is not None) is stream


@IN_STREAMS
def test_a_refusal_of_google_s_is_an_error(stack: Stack, server: Particular, stream: bool) -> None:
    server.answers = lambda _: refuse(400, {"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}})
    answer = ask(stack, stream=stream, group="google", x_litellm_num_retries="0")

    assert answer.status_code == 400, answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["cost_usd"]) == ("error", "google-odd", None)
