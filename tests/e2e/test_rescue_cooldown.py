"""A deployment that was given up once gets requests again, even if LiteLLM's cooldowns are strict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import redis

from evaluation.emulator import Handle, running_endpoints
from evaluation.routing.first_token.asking import PATHS, body, next_number, path
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import LITELLM, SPECS, deployment, publish_one, refreshed
from tests.e2e.rescue_stack import WITHIN_S

PREFIX = "cooldown:"
# On Gemini's own routes LiteLLM 1.110 counts the given-up attempt nevertheless (docs/rescue.md).
ROUTES = tuple(route for route in PATHS if route != "gemini" or LITELLM < (1, 109))
FOR_LONG = {"num_retries": 2, "allowed_fails": 0, "cooldown_time": 600}


@pytest.mark.skipif(LITELLM < (1, 108), reason="LiteLLM tells its caller's timeouts from others since")
def test_being_given_up_once_does_not_count_for_litellms_cooldown(valkey: ValkeyServer, tmp_path: Path) -> None:
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    specs = [*(replace(SPECS[0], name=f"{route}-silent") for route in ROUTES), replace(SPECS[1], name="good")]
    with running_endpoints(specs) as running:
        *silent, good = running
        for route in ROUTES:
            publish_one(client, PREFIX, f"{route}-silent", "small")
            publish_one(client, PREFIX, f"{route}-good", "medium")
        for one in silent:
            one.control("hang", times=1)
        with StockProxy(_document(silent, good, valkey.url), tmp_path) as proxy:
            refreshed(proxy, client, PREFIX)
            rescued = {route: _ask(proxy, route) for route in ROUTES}
            left = {route for route in ROUTES if not _gets_one(proxy, route)}

    assert {route: answer.headers.get("x-slo-rescued") for route, answer in rescued.items()} == dict.fromkeys(
        ROUTES, "deadline"
    )
    assert left == set()


def _ask(proxy: StockProxy, route: str) -> httpx.Response:
    asked = body(route, route, next_number(), None)
    return httpx.post(proxy.url + path(route, route), json=asked, headers=proxy.auth, timeout=WITHIN_S)


def _gets_one(proxy: StockProxy, route: str) -> bool:
    """Whether the deployment that was silent is soon asked again."""
    deadline_s = time.monotonic() + WITHIN_S / 3
    while time.monotonic() < deadline_s:
        if _ask(proxy, route).headers.get("x-slo-selected-model") == f"{route}-silent":
            return True
        time.sleep(0.2)
    return False


def _document(silent: Sequence[Handle], good: Handle, redis_url: str) -> dict[str, object]:
    rescue = {"min_ms": 500, "max_ms": 60_000}
    groups = {route: {"slo": {"ttft_ms": 60_000}, "trial_share": 0, "rescue": rescue} for route in ROUTES}
    models = [
        entry
        for route, handle in zip(ROUTES, silent, strict=True)
        for entry in (
            deployment(handle, route, f"{route}-silent", like="small"),
            deployment(good, route, f"{route}-good", like="medium"),
        )
    ]
    plugin = {"groups": groups, "redis_url": redis_url, "key_prefix": PREFIX, "refresh_interval_s": 0.2}
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": plugin},
        "router_settings": FOR_LONG,
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
