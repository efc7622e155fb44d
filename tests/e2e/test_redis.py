"""Redis may be absent, hold wrong values, die under load and come back. No request is lost because of that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.conftest import ASK, Stack, publish

POISON = {
    "not a number": {"ttft_ms": "fast"},
    "not finite": {"ttft_ms": "nan"},
    "negative": {"ttft_ms": "-5"},
    "from the future": {"timestamp": str(4_000_000_000)},
}


@pytest.mark.parametrize("fields", POISON.values(), ids=POISON.keys())
def test_a_poisoned_value_is_ignored_and_the_rest_is_used(stack: Stack, fields: dict[str, str]) -> None:
    stack.publish(large=fields)

    answer = stack.ask(x_slo_min_quality="0.9")  # only large is good enough, and its published TTFT is wrong

    assert answer.status_code == 200
    assert answer.headers["x-slo-selected-model"] == "large"
    assert "x-slo-predicted-ttft-ms" not in answer.headers
    assert answer.headers["x-slo-reason"] == "cheapest; no measurement of ttft_ms"


def test_a_key_of_the_wrong_type_is_ignored(stack: Stack) -> None:
    stack.publish(small={"ttft_ms": 1})
    stack.redis.delete("metrics:small:summarization")
    stack.redis.set("metrics:small:summarization", "boo")
    stack.refreshed()

    assert stack.ask().headers["x-slo-predicted-ttft-ms"] == "1.0"  # pooled from the other categories
    stack.redis.delete("metrics:small:summarization")


def test_each_poisoned_value_is_logged_once(stack: Stack) -> None:
    stack.publish(medium={"tpot_ms": "-77"})
    stack.refreshed()

    assert stack.proxy.log.count("ignoring tpot_ms of metrics:medium:summarization") == 1


def test_killing_redis_under_load_fails_no_request_and_it_is_used_again_when_it_is_back(stack: Stack) -> None:
    statuses: list[int] = []
    done = threading.Event()

    def load() -> None:
        with httpx.Client(headers=stack.proxy.auth, timeout=60) as client:
            while not done.is_set():
                body = {"model": "smart", "messages": [{"role": "user", "content": ASK}]}
                answer = client.post(f"{stack.proxy.url}/v1/chat/completions", json=body)
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(statuses) > 10)
    stack.valkey.kill()
    wait_for(lambda: "routing on the last snapshot until it answers" in stack.proxy.log)
    kept = stack.ask()
    before = len(statuses)
    wait_for(lambda: len(statuses) > before + 10)
    stack.valkey.start()
    client = stack.redis
    publish(client, small={"ttft_ms": 61})
    wait_for(lambda: stack.ask().headers.get("x-slo-predicted-ttft-ms") == "61.0")
    done.set()
    for thread in threads:
        thread.join()
    stack.publish()

    assert kept.headers["x-slo-predicted-ttft-ms"] == "60.0"  # the last snapshot
    assert set(statuses) == {200}


def test_a_redis_that_stops_answering_costs_no_request(stack: Stack) -> None:
    def ask_s() -> float:
        begun_s = time.monotonic()
        assert stack.ask().status_code == 200
        return time.monotonic() - begun_s

    stack.valkey.pause()
    try:
        paused_s = min(ask_s() for _ in range(10))
    finally:
        stack.valkey.resume()
    stack.refreshed()  # for the next tests

    assert paused_s < 2  # a request that waits for Redis takes 2 s; on a busy machine others may, too


def wait_for(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s"
        time.sleep(0.02)
