"""Who is healthy is not given up, by a group that says nothing of rescue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from evaluation.emulator import running_endpoints
from evaluation.shared.stock_proxy import LOCAL
from tests.e2e.conftest import SPECS, Part, Streams, deployment, publish_one

SHORT_ONES = {"healthy-by-benchmark": 0, "healthy-after-short-ones": 6}  # by group: so many short prompts come first
MEASURED_MS = 2_000.0  # on what machine ever: whoever takes no longer is not late before live traffic tells
SHORT, LONG = "hello", "hello " * 6_000  # the second is read in seconds


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """Of the proxy that the tests of streams share: a cheap deployment that reads a prompt slowly, and a dear one."""
    reads = replace(SPECS[0], name="reads", prefill_us_per_token=1_000, context_tokens=100_000)
    with running_endpoints([reads, replace(reads, name="swift", prefill_us_per_token=0)]) as (slow, swift):
        for group in SHORT_ONES:
            publish_one(client, Streams.prefix, f"{group}-reads", "small", {"ttft_ms": MEASURED_MS})
            publish_one(client, Streams.prefix, f"{group}-swift", "large")
        models = [
            deployment(handle, group, f"{group}-{handle.name}", like=like, max_input_tokens=100_000)
            for group in SHORT_ONES
            for handle, like in ((slow, "small"), (swift, "large"))
        ]
        yield Part(models, {group: {"slo": {"ttft_ms": 60_000}, "trial_share": 0} for group in SHORT_ONES})


@pytest.mark.parametrize("group", SHORT_ONES)
def test_a_long_prompt_is_waited_for_though_only_short_ones_were_measured(streams: Streams, group: str) -> None:
    for text in (*[SHORT] * SHORT_ONES[group], LONG):
        body = {"model": group, "stream": True, "messages": [{"role": "user", "content": text}]}
        answer = LOCAL.post(f"{streams.proxy.url}/v1/chat/completions", headers=streams.proxy.auth, json=body)
    assert (answer.status_code, answer.headers.get("x-slo-rescued")) == (200, None)
    assert answer.headers["x-slo-selected-model"] == f"{group}-reads"
