"""A deployment that refuses everything loses its traffic after a handful; a request's own fault costs nobody anything.

Requests are sent without retries: what is refused is lost, so the fewer the better.
"""

from __future__ import annotations

import time

import httpx
import pytest

from tests.e2e.conftest import Stack

ANY = "20000"  # a limit that nothing here breaks, however busy the machine
REQUESTS = 60
HANDFUL = 16  # three in a row, six where it was vouched for a moment ago, and those that leave while it is asked


def streamed(live: Stack, name: str) -> int:
    """Our own requests; LiteLLM's health checks want their answers whole."""
    return sum(seen.stream for seen in live.endpoints[name].seen())


def ask(live: Stack, **body: object) -> httpx.Response:
    whole = {"stream": True, "max_tokens": 4, **body}
    return live.ask(body=whole, x_slo_ttft_ms=ANY, x_litellm_num_retries="0")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_who_refuses_everything_is_left_after_a_handful_and_found_again(live: Stack, status: int) -> None:
    wait_until_small_answers(live)
    live.endpoints["small"].reset()
    live.endpoints["small"].control("status", status=status)

    statuses = [ask(live).status_code for _ in range(REQUESTS)]

    lost = sum(code != 200 for code in statuses)
    assert streamed(live, "small") == lost <= HANDFUL
    assert set(statuses[HANDFUL:]) == {200}
    live.endpoints["small"].control("ok")
    wait_until_small_answers(live)


def wait_until_small_answers(live: Stack, within_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + within_s
    while ask(live).headers["x-slo-selected-model"] != "small":
        assert time.monotonic() < deadline_s, "small gets no traffic"
        time.sleep(0.5)


def test_more_room_than_a_models_answers_have_goes_to_one_that_has_it(live: Stack) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = live.ask(model="short", body={name: 32_000})
        assert answer.headers["x-slo-selected-model"] == "short-medium"
    assert live.ask(model="short", body={"max_tokens": 4_096}).headers["x-slo-selected-model"] == "short-small"


def test_who_has_no_patience_shuts_nobody_for_the_others(live: Stack) -> None:
    """Three timeouts in a row that a client asked for, a tenth of what an answer takes."""
    wait_until_small_answers(live)
    live.endpoints["small"].reset()
    live.endpoints["small"].control("slow", factor=20)  # an answer takes half a second

    statuses = [ask(live, stream=False, max_tokens=24, timeout=0.05).status_code for _ in range(6)]

    assert set(statuses) == {408}
    live.endpoints["small"].control("ok")
    assert ask(live).headers["x-slo-selected-model"] == "small"
