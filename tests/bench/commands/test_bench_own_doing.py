"""The command reports failures of the agent's own making. They steer no router: refusals, money, wrong addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.commanded import QUICK, SECRET, bench, document, hashes
from tests.shared.particular_server import GOOD, THOUGHT, Request, particular, refuse, whole
from tests.shared.scripted_server import DONE, chunk, delta, stream, usage

Configure = Callable[..., str]


NO = [
    (400, "Unsupported parameter: 'mirostat'", "HTTP 400: Unsupported parameter: 'mirostat'", "--via-proxy"),
    (401, f"Incorrect API key provided: {SECRET}", "HTTP 401: Incorrect API key provided: …", "check api_key"),
    (403, "team missing at http://127.0.0.1:9/x", "HTTP 403: team missing at …", "extra_headers"),
    (402, "out of credits", "HTTP 402: out of credits", "top up"),
    (404, "no such model", "HTTP 404: no such model", "check model"),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "extra"}]}, "HTTP 422: body.n: extra", "--via-proxy"),
    (308, {}, "HTTP 308", "api_base to the address that it redirects to"),
    (429, {"error": {"message": "No.", "code": "insufficient_quota"}}, "HTTP 429: No. (insufficient_quota)", "top up"),
    (400, "Your credit balance is too low", "HTTP 400: Your credit balance", "top up"),
]


@pytest.mark.parametrize("case", NO)
def test_a_server_that_refuses_every_request_steers_nobody_and_is_quoted(
    case: tuple[int, object, str, str], configure: Configure, valkey_url: str
) -> None:
    status, error, said, remedy = case
    with particular(lambda _: refuse(status, error)) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--json")
    (row,) = document(result)["results"]
    assert (result.exit_code, hashes(valkey_url)) == (2, {})
    assert f"small ner: not measured, because: {said}" in result.stderr
    assert remedy in row["not_measured_because"]
    assert (row["errors"], row["inconclusive"], row["error_rate"]) == ({}, {f"http_{status}": 4}, None)
    assert row["published"] is None


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_failures_of_the_servers_own_kind_are_published(status: int, configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: refuse(status, "overloaded")) as server:
        result = bench("--config", configure(server.api_base), *QUICK)
    assert result.exit_code == 2
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "1"


def test_the_message_never_repeats_the_prompt(configure: Configure) -> None:
    def echo(request: Request) -> bytes:
        messages: Any = request.body["messages"]
        return refuse(400, "cannot read: " + messages[-1]["content"][-80:])

    with particular(echo) as server:
        config = configure(server.api_base)
        result = bench("--config", config, *QUICK, "--no-publish")
        asked = [str(body["messages"][-1]["content"])[-80:] for body in server.bodies]  # type: ignore[index]
    assert "HTTP 400: cannot" in result.stderr
    assert not any(one[start : start + 20] in result.output for one in asked for start in range(60))


def test_refusals_among_answers_are_told_and_stay_out_of_the_error_rate(configure: Configure, valkey_url: str) -> None:
    asked = iter(range(1_000))
    with particular(lambda _: refuse(400, "prompt too long") if next(asked) % 2 else GOOD) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--concurrency", "1", "--warmup", "0")
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"
    assert "small ner: 2 of 4 requests say nothing, because: HTTP 400: prompt too long" in result.stderr
    assert "(2 http_400)" in result.stdout


def test_hidden_reasoning_without_end_is_no_error_and_no_empty_answer(configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: THOUGHT) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--json")
        lengths = {body["max_tokens"] for body in server.bodies}
    (row,) = document(result)["results"]
    assert (row["errors"], row["inconclusive"], row["error_rate"]) == ({}, {"reasoning_only": 4}, None)
    assert row["answers"] | {"failed_ci95": None} == {
        "checked": 0, "failed": 0, "failed_ci95": None, "faults": {}, "verdict": "undecided"
    }  # fmt: skip
    assert hashes(valkey_url) == {}
    assert "not measured, because: reasoning used up max_tokens" in result.stderr
    assert len({int(str(one)) for one in lengths}) <= 6  # each prompt's own, and eight times that


def test_an_answer_that_a_filter_withheld_is_no_empty_one(configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: whole(stream(chunk(delta("content_filter")), chunk(usage(9, 0)), DONE))) as server:
        result = bench("--config", configure(server.api_base), *QUICK)
    assert hashes(valkey_url) == {}
    assert "content filter withheld" in result.stderr


def test_a_page_instead_of_a_stream_is_a_wrong_address(configure: Configure, valkey_url: str) -> None:
    page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<ok>"
    with particular(lambda _: page) as server:
        result = bench("--config", configure(server.api_base), *QUICK)
    assert hashes(valkey_url) == {}
    assert "it answered with text/html instead of a stream of events; check api_base" in result.stderr


def test_a_refusal_inside_a_stream_is_a_refusal(configure: Configure, valkey_url: str) -> None:
    error = chunk({"error": {"message": "Invalid key", "code": 401}})
    with particular(lambda _: whole(stream(error))) as server:
        result = bench("--config", configure(server.api_base), *QUICK)
    assert hashes(valkey_url) == {}
    assert "HTTP 401: Invalid key" in result.stderr


def test_a_server_that_is_not_there_is_not_measured(configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: GOOD) as server:
        config = configure(server.api_base)
    result = bench("--config", config, *QUICK)
    assert hashes(valkey_url) == {}
    assert "small ner: not measured, because: the connection was refused" in result.stderr


def test_through_the_proxy_it_is_said_what_to_do_about_the_proxy(configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: refuse(401, "no such key")) as server:
        config = configure("http://model.invalid/v1")
        result = bench("--config", config, *QUICK, "--via-proxy", server.api_base, "--proxy-key", SECRET)
    assert hashes(valkey_url) == {}
    assert "HTTP 401: no such key; check --proxy-key" in result.stderr


def test_an_answer_from_another_deployment_is_the_proxys_doing(configure: Configure, valkey_url: str) -> None:
    elsewhere = GOOD.replace(b"\r\n\r\n", b"\r\nx-litellm-model-id: large\r\n\r\n", 1)
    with particular(lambda _: elsewhere) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--via-proxy", server.api_base)
    assert hashes(valkey_url) == {}
    assert "not measured, because: the proxy asked another deployment" in result.stderr


def test_a_deployment_that_needs_its_headers_and_body_is_measured_as_it_is(configure: Configure) -> None:
    def strict(one: Request) -> bytes:
        allowed = one.headers.get("x-team") == "a" and one.body.get("chat_template_kwargs") == {
            "enable_thinking": False
        }
        return GOOD if allowed else refuse(403, "not your team")

    own = {"extra_headers": {"X-Team": "a"}, "extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}
    with particular(strict) as server:
        assert bench("--config", configure(server.api_base, **own), *QUICK).exit_code == 0
        without = bench("--config", configure(server.api_base), *QUICK)
    assert "not measured, because: HTTP 403: not your team" in without.stderr
