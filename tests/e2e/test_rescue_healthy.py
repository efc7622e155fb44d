"""A healthy deployment is not given up in a group without rescue settings, nor left because of a too low benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
import redis

from evaluation.emulator import running_endpoints
from evaluation.shared.stock_proxy import LOCAL
from tests.e2e.conftest import SPECS, Part, Streams, deployment, publish_one, refreshed

SHORT_ONES = {"healthy-by-benchmark": 0, "healthy-after-short-ones": 6}  # short prompts first, by group
MEASURED_MS = 2_000.0  # a deployment that takes no longer is not late, on any machine, before live traffic teaches
SHORT, MIDDLING, LONG = "hello", "hello " * 1_500, "hello " * 6_000  # reading the last one takes seconds
TOO_LOW, TOO_LOW_MS = "measured-too-low", 60.0  # MIDDLING takes 25 times as long
LIMIT_MS = 20_000.0
AT_ONCE, ROUNDS = 2, 8  # fewer at once than make a deployment count as hanging


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """This module's part of the proxy that the tests of streams share.

    Each group has a cheap deployment that reads a prompt slowly, and a dear one.
    """
    reads = replace(SPECS[0], name="reads", prefill_us_per_token=1_000, context_tokens=100_000)
    with running_endpoints([reads, replace(reads, name="swift", prefill_us_per_token=0)]) as (slow, swift):
        for group in SHORT_ONES:
            publish_one(client, Streams.prefix, f"{group}-reads", "small", {"ttft_ms": MEASURED_MS})
            publish_one(client, Streams.prefix, f"{group}-swift", "large")
        publish_one(client, Streams.prefix, f"{TOO_LOW}-reads", "small", {"ttft_ms": TOO_LOW_MS})
        publish_one(client, Streams.prefix, f"{TOO_LOW}-swift", "large")
        models = [
            deployment(handle, group, f"{group}-{handle.name}", like=like, max_input_tokens=100_000)
            for group in (*SHORT_ONES, TOO_LOW)
            for handle, like in ((slow, "small"), (swift, "large"))
        ]
        groups = {group: {"slo": {"ttft_ms": 60_000}, "trial_share": 0} for group in SHORT_ONES}
        low = {"slo": {"ttft_ms": LIMIT_MS}, "trial_share": 0, "rescue": "off"}
        yield Part(models, {**groups, TOO_LOW: low})


def ask(streams: Streams, group: str, text: str) -> httpx.Response:
    body = {"model": group, "stream": True, "messages": [{"role": "user", "content": text}]}
    return LOCAL.post(f"{streams.proxy.url}/v1/chat/completions", headers=streams.proxy.auth, json=body)


@pytest.mark.parametrize("group", SHORT_ONES)
def test_a_long_prompt_is_waited_for_though_only_short_ones_were_measured(streams: Streams, group: str) -> None:
    for text in (*[SHORT] * SHORT_ONES[group], LONG):
        answer = ask(streams, group, text)
    assert (answer.status_code, answer.headers.get("x-slo-rescued")) == (200, None)
    assert answer.headers["x-slo-selected-model"] == f"{group}-reads"


def test_one_that_was_measured_too_fast_is_not_taken_for_slower_than_it_is(streams: Streams) -> None:
    """Requests that waited longer than the benchmark says teach the fit, and this knowledge is not counted twice."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            answers += pool.map(lambda _: ask(streams, TOO_LOW, MIDDLING), range(AT_ONCE))
            refreshed(streams.proxy, streams.redis, Streams.prefix)
    expected_ms = [float(answer.headers["x-slo-predicted-ttft-ms"]) for answer in answers]
    assert {answer.headers["x-slo-selected-model"] for answer in answers} == {f"{TOO_LOW}-reads"}, str(expected_ms)
