"""A model that hides what it thinks: asked for little where time is short, and for much where there is time."""

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

GROUP = "thinking"
ROUTES = {"/v1/chat/completions": "messages", "/v1/responses": "input"}
REASONS = "openai/o3-mini"  # LiteLLM takes an effort for models alone of which it knows that they reason
LEAST_S = 1.5  # `high` thinks at least so long: 3 × 250 tokens × 0.5, each of 4 ms
LONG_MS = 60_000
AT_ONCE = 6
MEASURED = {
    "ttft_ms": 1_060,
    "output_tokens_mean": 280,
    "hidden_tokens_mean": 250,
    "samples": 50,
}  # at no stated effort


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """Of the proxy that the tests of streams share: a cheap deployment that thinks, and a dear one that does not."""
    thinks = replace(SPECS[0], name="thinks", tpot_ms=4, thought_tokens=250, context_tokens=100_000)
    with running_endpoints([thinks, replace(thinks, name="swift", thought_tokens=0)]) as (slow, swift):
        publish_one(client, Streams.prefix, f"{GROUP}-thinks", "small", MEASURED)
        publish_one(client, Streams.prefix, f"{GROUP}-swift", "large")
        models = [
            deployment(handle, GROUP, f"{GROUP}-{handle.name}", like=like, max_input_tokens=100_000)
            for handle, like in ((slow, "small"), (swift, "large"))
        ]
        for entry in models:
            entry["litellm_params"]["model"] = REASONS  # type: ignore[index]
        yield Part(models, {GROUP: {"slo": {"ttft_ms": LONG_MS}, "trial_share": 0, "rescue": "off"}})


def ask(streams: Streams, effort: str, ttft_ms: int, path: str = "/v1/chat/completions") -> httpx.Response:
    said = [{"role": "user", "content": "Good morning, how are you?"}]
    asked = {"reasoning": {"effort": effort}} if path == "/v1/responses" else {"reasoning_effort": effort}
    body = {"model": GROUP, "stream": True, ROUTES[path]: said, **asked}
    headers = {**streams.proxy.auth, "x-slo-ttft-ms": str(ttft_ms)}
    answer = LOCAL.post(f"{streams.proxy.url}{path}", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def taught(streams: Streams) -> Streams:
    """The proxy after requests that had time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for effort in ("minimal", "high"):
            answers = list(pool.map(lambda e: ask(streams, e, LONG_MS), [effort] * AT_ONCE))
            chosen = {answer.headers["x-slo-selected-model"] for answer in answers}
            assert chosen == {f"{GROUP}-thinks"}, [answer.headers["x-slo-reason"] for answer in answers]
    refreshed(streams.proxy, streams.redis, Streams.prefix)
    return streams


@pytest.mark.parametrize("path", ROUTES)
def test_each_effort_is_predicted_by_the_thoughts_that_it_takes(taught: Streams, path: str) -> None:
    expected_ms = {}
    for effort in ("minimal", "high"):
        answer = ask(taught, effort, LONG_MS, path)
        assert answer.headers["x-slo-selected-model"] == f"{GROUP}-thinks", answer.headers["x-slo-reason"]
        expected_ms[effort] = float(answer.headers["x-slo-predicted-ttft-ms"])
    assert expected_ms["high"] > max(LEAST_S * 1_000, 1.5 * expected_ms["minimal"])

    between_ms = round((expected_ms["minimal"] * expected_ms["high"]) ** 0.5)
    few, many = ask(taught, "minimal", between_ms, path), ask(taught, "high", between_ms, path)
    assert few.headers["x-slo-selected-model"] == f"{GROUP}-thinks", (expected_ms, few.headers["x-slo-reason"])
    assert many.headers["x-slo-selected-model"] == f"{GROUP}-swift", (expected_ms, many.headers["x-slo-reason"])
