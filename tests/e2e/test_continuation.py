"""LiteLLM may continue a stream that broke after its first content. Rescue leaves it alone, and there is one record.

LiteLLM does so from 1.109 on, by a fallback, if `enable_mid_stream_fallback_continuation` is set.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import redis

from evaluation.emulator import running_endpoints
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import ASK, BOOKED, SPECS, USD_PER_TOKEN, deployment, publish_one, refreshed
from tests.e2e.rescue_stack import WITHIN_S

PREFIX = "continuation:"
GROUPS = {"breaks": "small", "goes-on": "medium"}


def test_a_stream_that_litellm_goes_on_with_elsewhere_has_one_record_of_both_parts(
    valkey: ValkeyServer, tmp_path: Path
) -> None:
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    (tmp_path / "booked.py").write_text(BOOKED)
    with running_endpoints(SPECS[:2]) as (small, medium):
        for group, like in GROUPS.items():
            publish_one(client, PREFIX, group, like)
        small.control("cut", after_chunks=5)
        models = [
            deployment(handle, group, group, like=handle.name, supports_assistant_prefill=True)
            for handle, group in zip((small, medium), GROUPS, strict=True)
        ]
        with StockProxy(_document(models, valkey.url), tmp_path) as proxy:
            refreshed(proxy, client, PREFIX)
            asked = {"model": "breaks", "stream": True, "messages": [{"role": "user", "content": ASK}]}
            url = f"{proxy.url}/v1/chat/completions"
            answer = httpx.post(url, json=asked, headers=proxy.auth, timeout=WITHIN_S)
            record = _record(client)
    text = _text(answer.text)

    assert answer.status_code == 200
    assert text.startswith("[small]")
    assert "[medium]" in text
    assert (record["outcome"], record["deployment"], record["attempts"]) == ("success", "goes-on", 2)
    assert record["rescued"] is None
    second = medium.seen()[-1].completion_tokens or 0
    assert record["completion_tokens"] > second > 0  # those before the cut count, too
    booked = [json.loads(line) for line in (tmp_path / "booked.jsonl").read_text().splitlines()]
    assert len(booked) == 1
    assert record["cost_usd"] == pytest.approx(booked[0][2])
    assert record["cost_usd"] > USD_PER_TOKEN["medium"] * 2 * second


def _document(models: list[dict[str, object]], redis_url: str) -> dict[str, object]:
    rescue = {"min_ms": 1, "max_ms": 60_000}
    groups = {name: {"slo": {"ttft_ms": 60_000}, "trial_share": 0, "rescue": rescue} for name in GROUPS}
    plugin = {"groups": groups, "redis_url": redis_url, "key_prefix": PREFIX, "refresh_interval_s": 0.2}
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback", "booked.callback"]},
        "callback_settings": {"slo_router": plugin},
        "router_settings": {
            "num_retries": 2,
            "disable_cooldowns": True,
            "enable_mid_stream_fallback_continuation": True,
            "fallbacks": [{"breaks": ["goes-on"]}],
        },
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def _text(stream: str) -> str:
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _record(client: redis.Redis) -> dict[str, Any]:
    """The only record. Waits a while for a second one, which must not come."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(f"{PREFIX}slo_router:requests"))
        if entries or time.monotonic() > deadline_s:
            time.sleep(3)  # a second one would have come by then
            entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(f"{PREFIX}slo_router:requests"))
            assert len(entries) == 1
            return cast("dict[str, Any]", json.loads(entries[0][1]["record"]))
        time.sleep(0.05)
