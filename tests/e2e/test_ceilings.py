"""A key's cost ceiling on the real proxy: no answer from a deployment above it while a cheaper one could answer.

The proxy's keys come from LiteLLM's `custom_auth`. `large` costs 0.005 USD per 1,000 tokens or more, `medium` and
`small` at most 0.001. So under a ceiling of 0.002 no request reaches `large`, whatever it asks for.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx
import pytest
import redis

from evaluation.emulator import Handle, running_endpoints
from evaluation.emulator.record import Seen
from evaluation.shared.stock_proxy import LOCAL
from evaluation.shared.valkey_server import ValkeyServer
from tests.e2e.conftest import ASK, SPECS, Part, Stack, Streams, deployment, publish
from tests.e2e.test_routes import ROUTES
from tests.shared.request_bodies import random_body

CEILING = {"slo_limits": {"cost_per_1k": {"max": 0.002}}}
KEYS = {
    "sk-key": {"metadata": CEILING},
    "sk-team": {"team_id": "t", "team_metadata": CEILING},
    "sk-both": {"metadata": {"slo_limits": {"cost_per_1k": {"max": 900}}}, "team_id": "t", "team_metadata": CEILING},
    "sk-malformed": {"metadata": {**CEILING, "slo": {"min_quality": 7}}},
}
RANDOM = 100  # three times
MARK = "#00c01d00"  # in a test's requests; health checks of a deployment that an earlier test broke have no mark


@contextmanager
def part(client: redis.Redis) -> Iterator[Part]:
    """This module's part of a proxy that modules share."""
    publish(client, Streams.prefix)
    with running_endpoints(SPECS) as handles:
        small, medium, large = handles
        models = [
            *(deployment(handle, "smart", handle.name) for handle in handles),
            deployment(small, "failing", "failing-small"),
            deployment(large, "plain", "plain-large"),
            deployment(medium, "plain", "plain-medium"),
            deployment(large, "only", "only-large"),
            *(relayed(handle) for handle in handles),
        ]
        smart = {"trial_share": 0.5, "slo": {"ttft_ms": 1}, "min_quality": 0.9}
        fallbacks = [{"failing": ["plain"]}, {"only": ["smart"]}]
        passed_on = {"path": "/passed-on", "target": f"{small.api_base}/chat/completions"}
        groups = {"smart": smart, "failing": {}, "relayed": {}}
        yield Part(models, groups, (*handles,), fallbacks, KEYS, [passed_on])


def relayed(handle: Handle) -> dict[str, object]:
    """A deployment to which LiteLLM relays a request's body unchanged."""
    entry = deployment(handle, "relayed", f"relayed-{handle.name}")
    entry["litellm_params"] |= {"model": f"hosted_vllm/{handle.name}"}  # type: ignore[operator]
    return entry


@pytest.fixture
def stack(streams: Streams, valkey: ValkeyServer) -> Iterator[Stack]:
    handles = streams.servers[__name__]
    for handle in handles:
        handle.reset()
    yield Stack(streams.proxy, valkey, {one.name: one for one in handles}, time.time(), prefix=Streams.prefix)
    for handle in handles:
        handle.reset()


def ask(stack: Stack, key: str, path: str, body: Mapping[str, object], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(body, default=str).replace(ASK, f"{ASK} {MARK}")  # what JSON lacks becomes text
    own = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-litellm-num-retries": "1"}
    return LOCAL.post(f"{stack.proxy.url}{path}", content=content, headers={**own, **named})


def asked(stack: Stack) -> list[tuple[str, Seen]]:
    """The requests of the test that reached an endpoint, each with the endpoint's name."""
    found = [(name, seen) for name, end in stack.endpoints.items() for seen in end.seen() if seen.mark == MARK]
    assert found
    return found


def is_below_ceiling(stack: Stack) -> bool:
    return all(name != "large" for name, _ in asked(stack))


GEMINI = ("/v1beta/models/smart:generateContent", "/v1beta/models/smart:streamGenerateContent")


@pytest.mark.parametrize("key", ["sk-key", "sk-team", "sk-both"])
def test_no_wish_lifts_a_ceiling(stack: Stack, key: str) -> None:
    for path in (*ROUTES, *GEMINI):
        sent = ROUTES.get(path, {"contents": [{"role": "user", "parts": [{"text": ASK}]}]})
        body = {"model": "smart", **sent, "max_tokens": 30, "user_slo": {"maxCostPer1k": 900}}
        assert ask(stack, key, path, body, x_slo_min_quality="0.95").status_code == httpx.codes.OK
    assert is_below_ceiling(stack)


def test_a_fallback_into_a_group_that_is_not_managed_stays_below_the_ceiling(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")
    for _ in range(8):
        answer = ask(stack, "sk-key", "/v1/chat/completions", {"model": "failing", **ROUTES["/v1/chat/completions"]})
        assert answer.status_code == httpx.codes.OK
        assert "[medium]" in answer.text
    assert is_below_ceiling(stack)


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
    assert is_below_ceiling(stack)


def test_a_route_that_is_not_routed_by_slo_stays_below_the_ceiling(stack: Stack) -> None:
    for _ in range(8):
        answer = ask(stack, "sk-key", "/v1beta/interactions", {"model": "smart", "input": ASK})
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.headers["x-slo-decision"] == "passthrough"
    assert is_below_ceiling(stack)


OURS = {"user_slo": {"maxLatencyMs": 5_000}, "metadata": {"slo": {"min_quality": 0.9}, "mine": "stays"}}


def test_a_relayed_request_stays_below_the_ceiling_and_has_nothing_of_ours(stack: Stack) -> None:
    body = {"model": "relayed", **ROUTES["/v1/chat/completions"], **OURS}
    for _ in range(8):
        assert ask(stack, "sk-key", "/vllm/chat/completions", body).status_code == httpx.codes.OK
    assert is_below_ceiling(stack)
    assert [seen.body_keys for _, seen in asked(stack)] == [("messages", "metadata", "model")] * 8


@pytest.mark.parametrize("ours", [OURS, {"user_slo": OURS["user_slo"]}])
def test_what_goes_past_the_router_has_nothing_of_ours_and_no_record(stack: Stack, ours: Mapping[str, object]) -> None:
    body = {"model": "smart", **ROUTES["/v1/chat/completions"], **ours}
    assert ask(stack, "sk-key", "/passed-on", body, x_slo_ttft_ms="soon").status_code == httpx.codes.OK
    ((_, seen),) = asked(stack)
    assert "user_slo" not in seen.body_keys
    assert stack.records(0, within_s=3) == []


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
    assert stack.endpoints["large"].seen() == [], statuses
    assert statuses[httpx.codes.OK] > RANDOM / 10, statuses
