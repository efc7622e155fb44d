"""An answer whose content says that it failed is an error, though LiteLLM passes it on and bills it as an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from evaluation.routing.first_token.streams import block, block_delta, message, response
from tests.e2e.conftest import LITELLM, Stack
from tests.e2e.test_routes import ROUTES
from tests.shared.particular_server import GOOD, Particular, refuse, whole
from tests.shared.scripted_server import chunk, stream

OVERLOADED = message("error", error={"type": "overloaded_error", "message": "Overloaded"})
START = message(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "odd",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    },
)
WORD = block_delta(0, "text_delta", text="Yes")
FAILED: Mapping[str, object] = {
    **response("failed"),
    "error": {"code": "server_error", "message": "The server had an error while processing your request."},
}


@pytest.fixture
def server(odd: Particular) -> Iterator[Particular]:
    yield odd
    odd.answers = lambda _: GOOD


@pytest.mark.parametrize("has_word", [False, True], ids=["before a word", "after one"])
def test_a_stream_of_messages_that_ends_in_an_error_is_one(stack: Stack, server: Particular, has_word: bool) -> None:
    """Anthropic reports an overload like this, with HTTP 200."""
    words = (block(0, "text", text=""), WORD) if has_word else ()
    server.answers = lambda _: whole(stream(START, *words, OVERLOADED))
    body = {**ROUTES["/v1/messages"], "model": "messages", "stream": True}
    answer = stack.post("/v1/messages", body, x_litellm_num_retries="0")
    assert "Overloaded" in answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "messages-odd", False)
    assert (record["completion_tokens"], record["cost_usd"]) == (None, None)


@pytest.mark.parametrize("pieces", [2, 5], ids=["two pieces", "five"])
def test_an_error_that_comes_in_pieces_is_one(stack: Stack, server: Particular, pieces: int) -> None:
    """A network may cut the bytes anywhere."""
    size = -(-len(OVERLOADED) // pieces)
    cut = [piece for at in range(0, len(OVERLOADED), size) for piece in (OVERLOADED[at : at + size], 0.05)]
    server.answers = lambda _: stream(START, block(0, "text", text=""), WORD, 0.05, *cut)
    body = {**ROUTES["/v1/messages"], "model": "messages", "stream": True}
    answer = stack.post("/v1/messages", body, x_litellm_num_retries="0")
    assert "Overloaded" in answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["error_class"]) == ("error", "FailedAnswerError")


@pytest.mark.parametrize("mode", ["response.failed", "error"])
def test_a_stream_of_a_response_that_fails_is_an_error(stack: Stack, server: Particular, mode: str) -> None:
    begun = {**response("in_progress"), "output": []}
    word = {"item_id": "m", "output_index": 0, "content_index": 0, "delta": "Yes", "logprobs": []}
    ends: dict[str, Mapping[str, object]] = {
        "response.failed": {"type": "response.failed", "response": {**FAILED, "output": []}},
        "error": {"type": "error", "code": "server_error", "message": "The server had an error.", "param": None},
    }
    events: list[Mapping[str, object]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", **word},
        ends[mode],
    ]
    numbered = (chunk({**event, "sequence_number": number}) for number, event in enumerate(events))
    server.answers = lambda _: whole(stream(*numbered))
    body = {**ROUTES["/v1/responses"], "model": "odd", "stream": True}
    answer = stack.post("/v1/responses", body, x_litellm_num_retries="0")
    assert LITELLM < (1, 108) or "had an error" in answer.text  # older versions hide some errors from the client
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "odd", False)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_a_chat_made_of_a_response_that_failed_is_one_error(stack: Stack, server: Particular, is_stream: bool) -> None:
    """LiteLLM asks models with the mode `responses` like this."""
    failed = {"type": "response.failed", "response": {**FAILED, "output": []}}
    server.answers = lambda _: whole(stream(chunk(failed))) if is_stream else refuse(200, FAILED)
    answer = stack.ask(model="bridged", body={"stream": is_stream}, x_litellm_num_retries="0")
    assert "had an error" in answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "bridged-odd", False)
    assert (record["prompt_tokens"], record["cost_usd"]) == (None, None)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
def test_a_message_made_of_a_response_that_failed_is_an_error(
    stack: Stack, server: Particular, is_stream: bool
) -> None:
    failed = {"type": "response.failed", "response": {**FAILED, "output": []}}
    server.answers = lambda _: whole(stream(chunk(failed))) if is_stream else refuse(200, FAILED)
    body = {**ROUTES["/v1/messages"], "model": "odd", "stream": is_stream}
    stack.post("/v1/messages", body, x_litellm_num_retries="0")
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "odd", False)


def test_a_response_that_failed_is_an_error(stack: Stack, server: Particular) -> None:
    server.answers = lambda _: refuse(200, FAILED)
    answer = stack.post("/v1/responses", {**ROUTES["/v1/responses"], "model": "odd"})
    assert answer.json()["status"] == "failed"
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"]) == ("error", "odd")
    assert (record["prompt_tokens"], record["cost_usd"]) == (None, None)
