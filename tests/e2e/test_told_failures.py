"""An answer that says of itself that it failed is an error, though LiteLLM hands it on, and bills it, as an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from evaluation.routing.first_token.streams import block, block_delta, message, response
from tests.e2e.conftest import Stack
from tests.e2e.test_routes import ROUTES
from tests.shared.particular_server import GOOD, Particular, refuse, whole
from tests.shared.scripted_server import stream

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
    """As Anthropic tells it where it is overloaded: under HTTP 200."""
    words = (block(0, "text", text=""), WORD) if has_word else ()
    server.answers = lambda _: whole(stream(START, *words, OVERLOADED))
    body = {**ROUTES["/v1/messages"], "model": "messages", "stream": True}
    answer = stack.post("/v1/messages", body, x_litellm_num_retries="0")
    assert "overloaded_error" in answer.text
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "messages-odd", False)
    assert (record["completion_tokens"], record["cost_usd"]) == (None, None)


def test_a_response_that_failed_is_an_error(stack: Stack, server: Particular) -> None:
    server.answers = lambda _: refuse(200, FAILED)
    answer = stack.post("/v1/responses", {**ROUTES["/v1/responses"], "model": "odd"})
    assert answer.json()["status"] == "failed"
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"]) == ("error", "odd")
    assert (record["prompt_tokens"], record["cost_usd"]) == (None, None)
