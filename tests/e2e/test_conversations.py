"""Conversations stay where they are cached, on every route, by history or by session.

The tests use a real proxy and two equal replicas with prefix caches.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import redis

from evaluation.emulator import EndpointSpec, running_endpoints
from evaluation.shared import proxy_config
from evaluation.shared.stock_proxy import LOCAL, StockProxy
from tests.e2e.conftest import Part, Streams

Json = dict[str, Any]
INPUT_USD, CACHED_USD = 2e-6, 2e-7
REPLICAS = ("left", "right")
SPECS = [
    EndpointSpec(
        name=name, ttft_ms=2, prefill_us_per_token=5, tpot_ms=1, output_tokens=8, cache_tokens=200_000, slots=64
    )
    for name in REPLICAS
]
GROUP, PREFIX = "talks", Streams.prefix
LONG = "These are the minutes of our last meeting, word for word, and there were many words. " * 40
SESSION = "a-session-that-nobody-may-read"


class Talk:
    """A proxy with two replicas, and conversations on it."""

    def __init__(self, proxy: StockProxy, client: redis.Redis) -> None:
        self.proxy = proxy
        self.redis = client
        self._seen_s = 0.0

    def ask(self, path: str, body: Json, headers: Json | None = None) -> tuple[str, Json]:
        """Sends one request. Returns the deployment that answered, and the record."""
        answer = LOCAL.post(f"{self.proxy.url}{path}", json=body, headers={**self.proxy.auth, **(headers or {})})
        assert answer.status_code == 200, answer.text
        return answer.headers["x-slo-selected-model"], self._record()

    def _record(self) -> Json:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            entries = cast(
                "list[tuple[str, dict[str, str]]]", self.redis.xrevrange(f"{PREFIX}slo_router:requests", count=1)
            )
            for _, fields in entries:
                record: Json = json.loads(fields["record"])
                if record["model_group"] == GROUP and record["ts"] > self._seen_s:
                    self._seen_s = record["ts"]
                    return record
            time.sleep(0.02)
        raise AssertionError("no record within 60 s")


@contextmanager
def part(_: redis.Redis) -> Iterator[Part]:
    """This module's part of the proxy that the tests of streams share."""
    usd = {"cache_read_input_token_cost": CACHED_USD}
    with running_endpoints(SPECS) as handles:
        models = [
            proxy_config.deployment(
                GROUP, f"{one.name}-1", one.api_base, model=one.name, usd=(INPUT_USD, INPUT_USD), params=usd
            )
            for one in handles
        ]
        yield Part(models, {GROUP: {"stickiness": True, "trial_share": 0}})


@pytest.fixture(scope="module")
def talk(streams: Streams) -> Talk:
    return Talk(streams.proxy, streams.redis)


def chat(messages: list[Json]) -> tuple[str, Json]:
    return "/v1/chat/completions", {"model": GROUP, "messages": messages}


def messages(messages: list[Json]) -> tuple[str, Json]:
    return "/v1/messages", {"model": GROUP, "messages": messages, "max_tokens": 64, "system": "Be brief."}


def responses(messages: list[Json]) -> tuple[str, Json]:
    return "/v1/responses", {"model": GROUP, "input": messages, "instructions": "Be brief."}


ROUTES = [chat, messages, responses]
TURNS = 6


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_each_turn_goes_where_the_last_one_was_and_the_record_says_what_was_read_from_the_cache(
    talk: Talk, route: Callable[[list[Json]], tuple[str, Json]], stream: bool
) -> None:
    history: list[Json] = [{"role": "user", "content": f"{route.__name__} {stream} {LONG}"}]
    homes = []
    for number in range(TURNS):
        path, body = route(history)
        name, record = talk.ask(path, body | ({"stream": True} if stream else {}))
        homes.append(name)
        decision = record["decision"]
        if number:
            assert decision["cached_at"] == homes[0]
            assert record["cached_tokens"] > 0.9 * decision["cached_tokens"] > 300
            left = {one["deployment"]: one["leaving_usd"] for one in decision["candidates"]}
            (away,) = {f"{one}-1" for one in REPLICAS} - {name}
            assert left == {name: None, away: pytest.approx(decision["cached_tokens"] * INPUT_USD)}
            chosen = next(one for one in decision["candidates"] if one["deployment"] == name)
            assert chosen["predicted"]["cost_usd"] < 0.6 * record["prompt_tokens"] * INPUT_USD
        else:
            assert (decision["cached_at"], decision["cached_tokens"]) == ("", 0)
        history += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": f"And then? {number}"}]
    assert len(set(homes)) == 1


SESSIONS: list[tuple[Callable[[list[Json]], tuple[str, Json]], Json, Json]] = [
    (chat, {}, {"x-litellm-session-id": SESSION}),
    (chat, {"prompt_cache_key": SESSION}, {}),
    (messages, {}, {"x-claude-code-session-id": SESSION}),
    (messages, {"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": SESSION})}}, {}),
    (responses, {"prompt_cache_key": SESSION}, {"session_id": SESSION}),
    (responses, {}, {"session-id": SESSION, "user-agent": "codex_cli_rs/0.99"}),
]


@pytest.mark.parametrize(("route", "body", "headers"), SESSIONS)
def test_a_session_whose_history_was_cut_stays_where_it_was(
    talk: Talk, route: Callable[[list[Json]], tuple[str, Json]], body: Json, headers: Json
) -> None:
    name = f"{SESSION}-{time.time_ns()}"
    text = json.dumps([body, headers]).replace(SESSION, name)
    own_body, own_headers = json.loads(text)
    homes = set()
    for number in range(TURNS):
        path, asked = route([{"role": "user", "content": f"Summary {number} of {name}"}])
        home, record = talk.ask(path, asked | own_body, own_headers)
        homes.add(home)
        assert record["decision"]["cached_at"] == (home if number else "")
    assert len(homes) == 1
    assert SESSION not in talk.proxy.log
    told = [talk.redis.get(key) for key in talk.redis.scan_iter(f"{PREFIX}slo_router:live:*")]
    records = talk.redis.xrange(f"{PREFIX}slo_router:requests")
    assert '"prompt_tokens"' in str(records)
    assert '".caching":[[' in str(told)
    assert SESSION not in f"{told}{records}"
