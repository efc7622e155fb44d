"""A key's cost ceiling on the real proxy: no answer from a deployment above it while a cheaper one could answer.

One proxy of its own, whose keys come from LiteLLM's `custom_auth`. `large` costs 0.005 USD per 1,000 tokens and more,
`medium` and `small` at most 0.001: under a ceiling of 0.002 no request reaches `large`, whatever it asks for.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
import redis

from evaluation.demo import custom_auth
from evaluation.emulator import Handle, running_endpoints
from evaluation.shared.stock_proxy import LOCAL, StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import ASK, SPECS, Stack, deployment, document, publish
from tests.e2e.test_routes import ROUTES
from tests.shared.request_bodies import random_body

PREFIX = "ceilings:"
CEILING = {"slo_limits": {"cost_per_1k": {"max": 0.002}}}
KEYS = {
    "sk-key": {"metadata": CEILING},
    "sk-team": {"team_id": "t", "team_metadata": CEILING},
    "sk-both": {"metadata": {"slo_limits": {"cost_per_1k": {"max": 900}}}, "team_id": "t", "team_metadata": CEILING},
    "sk-malformed": {"metadata": {**CEILING, "slo": {"min_quality": 7}}},
}
RANDOM = 100  # three times


@pytest.fixture(scope="module")
def handles() -> Iterator[Sequence[Handle]]:
    with running_endpoints(SPECS) as running:
        yield running


@pytest.fixture(scope="module")
def running(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockProxy]:
    settings = document(handles, valkey.url, live_measurements=True, refresh_interval_s=0.2, key_prefix=PREFIX)
    small, medium, large = handles
    settings["model_list"] = [
        *(deployment(handle, "smart", handle.name) for handle in handles),
        deployment(small, "failing", "failing-small"),
        deployment(large, "plain", "plain-large"),
        deployment(medium, "plain", "plain-medium"),
        deployment(large, "only", "only-large"),
    ]
    groups = settings["callback_settings"]["slo_router"]["groups"]  # type: ignore[index]
    groups["smart"] = {"trial_share": 0.5, "slo": {"ttft_ms": 1}, "min_quality": 0.9}
    groups["failing"] = {}
    fallbacks = [{"failing": ["plain"]}, {"only": ["smart"]}]
    settings["router_settings"] |= {"num_retries": 1, "fallbacks": fallbacks}  # type: ignore[operator]
    settings["general_settings"]["custom_auth"] = "custom_auth.user_api_key_auth"  # type: ignore[index]
    directory = tmp_path_factory.mktemp("proxy")
    shutil.copy(Path(custom_auth.__file__), directory)
    (directory / "keys.json").write_text(json.dumps(KEYS))
    publish(redis.Redis.from_url(valkey.url), PREFIX)
    with StockProxy(settings, directory) as proxy:
        yield proxy


@pytest.fixture
def stack(running: StockProxy, valkey: ValkeyServer, handles: Sequence[Handle]) -> Iterator[Stack]:
    for handle in handles:
        handle.reset()
    yield Stack(running, valkey, {handle.name: handle for handle in handles}, time.time(), prefix=PREFIX)
    for handle in handles:
        handle.reset()


def ask(stack: Stack, key: str, path: str, body: Mapping[str, object], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(body, default=str)  # a number that JSON has none for is text
    auth = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return LOCAL.post(f"{stack.proxy.url}{path}", content=content, headers={**auth, **named})


def answered_by_large(stack: Stack) -> int:
    return len(stack.endpoints["large"].seen())


@pytest.mark.parametrize("key", ["sk-key", "sk-team", "sk-both"])
def test_no_wish_lifts_a_ceiling(stack: Stack, key: str) -> None:
    for path in ROUTES:
        body = {"model": "smart", **ROUTES[path], "max_tokens": 30, "user_slo": {"maxCostPer1k": 900}}
        assert ask(stack, key, path, body, x_slo_min_quality="0.95").status_code == httpx.codes.OK
    assert answered_by_large(stack) == 0


def test_a_fallback_into_a_group_that_is_not_managed_stays_below_the_ceiling(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")
    for _ in range(8):
        answer = ask(stack, "sk-key", "/v1/chat/completions", {"model": "failing", **ROUTES["/v1/chat/completions"]})
        assert answer.status_code == httpx.codes.OK
        assert "[medium]" in answer.text
    assert answered_by_large(stack) == 0


def test_a_fallback_where_nobody_is_below_the_ceiling_is_answered_all_the_same(stack: Stack) -> None:
    body = {"model": "failing", **ROUTES["/v1/chat/completions"], "fallbacks": ["only"]}
    stack.endpoints["small"].control("error500")
    assert "[large]" in ask(stack, "sk-key", "/v1/chat/completions", body).text


def test_a_malformed_wish_of_a_key_takes_its_ceiling_with_it_in_no_fallback(stack: Stack) -> None:
    stack.endpoints["large"].control("error500", times=2)  # `only` and its retry
    body = {"model": "only", **ROUTES["/v1/chat/completions"]}
    assert "[medium]" in ask(stack, "sk-malformed", "/v1/chat/completions", body).text


def test_models_asked_side_by_side_stay_below_the_ceiling(stack: Stack) -> None:
    for _ in range(8):
        body = {"model": "smart,smart", "messages": [{"role": "user", "content": ASK}]}
        answer = ask(stack, "sk-key", "/v1/chat/completions", body)
        assert answer.status_code == httpx.codes.OK, answer.text
    assert answered_by_large(stack) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fails", [(), ("small",), ("medium",)])
def test_no_random_request_is_answered_above_the_ceiling(stack: Stack, fails: Sequence[str]) -> None:
    rng, statuses = random.Random(len(fails)), Counter[int]()
    for name in fails:
        stack.endpoints[name].control("error500")
    for _ in range(RANDOM):
        path = rng.choice([*ROUTES])
        body = {**ROUTES[path], **random_body(rng), "model": rng.choice(("smart", "smart", "failing", "smart,smart"))}
        answer = ask(stack, rng.choice(("sk-key", "sk-team", "sk-both")), path, body, x_slo_ttft_ms="20000")
        statuses[answer.status_code] += 1
    assert answered_by_large(stack) == 0, statuses
    assert statuses[httpx.codes.OK] > RANDOM / 10, statuses
