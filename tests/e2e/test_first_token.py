"""The first token is the first token: not the role, not a filter notice, not an empty delta, on any route."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis

from evaluation.first_token.asking import Seen, ask_all, document
from evaluation.first_token.habits import HABITS
from evaluation.first_token.server import Providers, providers
from evaluation.stock_proxy import StockProxy
from tests.valkey_server import ValkeyServer

PREFIX = "first-token:"
GAP_S = 0.4  # between what opens a stream and its first token, so that no other reading can be taken for it
WITHIN_S = 60.0
NOT_SHOWN = {("openai refusal", "chat")}  # LiteLLM drops a refusal: no word of the model reaches the client


@pytest.fixture(scope="module")
def server() -> Iterator[Providers]:
    with providers(GAP_S) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Providers, valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockProxy]:
    settings = document(server, valkey.url, refresh_interval_s=0.2, key_prefix=PREFIX)
    with StockProxy(settings, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@dataclass
class Stack:
    """The running parts."""

    proxy: StockProxy
    server: Providers
    redis: redis.Redis

    def records(self, count: int) -> list[dict[str, object]]:
        """Once there are `count`."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            found = [json.loads(fields["record"]) for _, fields in self.redis.xrange(f"{PREFIX}slo_router:requests")]
            if len(found) >= count or time.monotonic() > deadline_s:
                return found
            time.sleep(0.05)


@pytest.fixture
def stack(proxy: StockProxy, server: Providers, valkey: ValkeyServer) -> Iterator[Stack]:
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    client.delete(f"{PREFIX}slo_router:requests")
    yield Stack(proxy, server, client)
    client.close()


def test_a_records_first_token_lies_between_when_the_server_sent_it_and_when_the_client_had_it(stack: Stack) -> None:
    """One clock for all three, so no machine is too slow for it: any other chunk came long before, or after."""
    asked = asyncio.run(ask_all(stack.proxy.url, stack.proxy.auth, at_once=8))
    found = {(one["model_group"], one["call_type"]): one for one in stack.records(len(asked))}

    assert {(one.habit.name, one.route): one.status for one in asked if one.status != 200} == {}
    assert {(one.habit.name, one.route) for one in asked if one.token_s is None} == NOT_SHOWN
    wrong = {
        (one.habit.name, one.route): fault for one in asked if (fault := _fault(one, found[one.key], stack.server))
    }
    assert wrong == {}
    assert {(one.habit.provider, one.route) for one in asked if one.token_s is not None} == {
        (habit.provider, route) for habit in HABITS for route in ("chat", "completions", "messages", "responses")
    }
    assert {one["outcome"] for one in found.values()} == {"success"}


def _fault(seen: Seen, record: dict[str, object], server: Providers) -> str | None:
    """What is wrong with the record of what the client saw; `None` where nothing is."""
    if seen.token_s is None:
        return (
            None if record["ttft_ms"] is None and record["slo_met"] is not False else f"{record['ttft_ms']} of nothing"
        )
    if record["ttft_ms"] is None:
        return "unmeasured"
    arrived_s = record["ts"] - record["e2e_ms"] / 1_000  # type: ignore[operator]
    token_s = arrived_s + record["ttft_ms"] / 1_000  # type: ignore[operator]
    sent_s = server.sent_s[seen.number]
    if not sent_s - 1e-5 <= token_s <= seen.token_s + 1e-5:  # a record rounds to microseconds
        return (
            f"{1_000 * (token_s - sent_s):+.1f} ms after the server, {1_000 * (token_s - seen.token_s):+.1f} the client"
        )
    if record["decision"] is None:  # up to 1.100 LiteLLM asks nobody which of one deployment to take
        return None
    return None if record["slo_met"] is False else "the limit was half of the gap"
