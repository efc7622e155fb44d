"""An endpoint that fails costs the request a retry elsewhere, never an answer, and leaves exactly one record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Never

import httpx
import pytest

from evaluation.emulator import FaultKind
from evaluation.emulator.connection import Connection
from tests.e2e.conftest import LITELLM, SOON, Stack
from tests.e2e.test_routes import ROUTES

BEFORE_THE_FIRST_BYTE: tuple[FaultKind, ...] = ("error500", "error429", "drop")


def is_retried(path: str, *, stream: bool) -> bool:
    """Whether LiteLLM tries again. From 1.109 on it has already sent the headers of a streamed text completion."""
    return not (stream and path == "/v1/completions" and LITELLM >= (1, 109))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_BYTE)
@pytest.mark.parametrize("path", ROUTES)
def test_a_failing_endpoint_is_asked_once_and_another_answers_where_litellm_tries_again(
    stack: Stack, path: str, fault: FaultKind, stream: bool
) -> None:
    stack.endpoints["small"].control(fault)

    answer = stack.post(path, {"model": "smart", "stream": stream, **ROUTES[path]})

    (record,) = stack.records(1)
    if is_retried(path, stream=stream):
        assert answer.status_code == 200
        assert "[medium]" in answer.text
        assert stack.seen() == {"small": 1, "medium": 1}
        assert answer.headers["x-slo-selected-model"] == "medium"
        assert (record["outcome"], record["deployment"], record["attempts"]) == ("success", "medium", 2)
    else:
        assert stack.seen() == {"small": 1}
        assert (record["outcome"], record["deployment"], record["attempts"]) == ("error", "small", 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_endpoint_that_hangs_before_the_first_byte_is_left_after_the_timeout(stack: Stack, stream: bool) -> None:
    stack.endpoints["small"].control("hang")

    answer = stack.ask(body={"stream": stream}, **SOON)

    assert answer.status_code == 200
    assert stack.seen() == {"small": 1, "medium": 1}


def test_two_failing_endpoints_are_each_asked_once(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")
    stack.endpoints["medium"].control("drop")

    answer = stack.ask()

    assert answer.status_code == 200
    assert stack.seen() == {"small": 1, "medium": 1, "large": 1}
    (record,) = stack.records(1)
    assert record["attempts"] == 3


def test_when_all_fail_the_client_gets_the_error_and_one_record_says_so(stack: Stack) -> None:
    for handle in stack.endpoints.values():
        handle.control("error500")

    answer = stack.ask()

    assert answer.status_code == 500
    assert stack.seen() == {"small": 1, "medium": 1, "large": 1}
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["attempts"]) == ("error", "large", 3)
    assert record["slo_met"] is False
    assert record["error_class"] == "InternalServerError"
    assert (record["prompt_tokens"], record["cost_usd"], record["ttft_ms"]) == (None, None, None)


@pytest.fixture
def is_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No endpoint closes a connection before this is set: on a slow machine LiteLLM would see the end first."""
    event, hang_up = threading.Event(), Connection.hang_up

    async def hang_up_then(connection: Connection) -> Never:
        await asyncio.to_thread(event.wait)
        await hang_up(connection)

    monkeypatch.setattr(Connection, "hang_up", hang_up_then)
    yield event
    event.set()


@pytest.mark.parametrize("path", ROUTES)
def test_a_stream_that_is_cut_is_one_error_and_is_not_sent_again(
    stack: Stack, path: str, is_read: threading.Event
) -> None:
    stack.endpoints["small"].control("cut", after_chunks=8)

    text = ""
    with httpx.stream(
        "POST",
        f"{stack.proxy.url}{path}",
        json={"model": "smart", "stream": True, **ROUTES[path]},
        headers=stack.proxy.auth,
        timeout=60,
    ) as answer:
        assert answer.status_code == 200
        with suppress(httpx.RemoteProtocolError):
            for piece in answer.iter_text():
                text += piece
                if "[small]" in text:
                    is_read.set()
    assert is_read.is_set()
    assert "[medium]" not in text
    assert stack.seen() == {"small": 1}
    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"], record["slo_met"]) == ("error", "small", False)


def test_a_failed_deployment_is_not_avoided_by_the_next_request(stack: Stack) -> None:
    stack.endpoints["small"].control("error500", times=1)

    first, second = stack.ask(), stack.ask()

    assert first.headers["x-slo-selected-model"] == "medium"
    assert second.headers["x-slo-selected-model"] == "small"
