"""The request path reads only memory, and a decision that fails does not affect its request.

The tests use a real plugin, its background jobs on a real Valkey, and LiteLLM's router with three deployments that are
never called. From arrival to response headers `sys.setprofile` watches every call of the interpreter while the
request's own coroutines run. In between, background jobs may run unwatched.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, FrameType
from typing import Generic, TypeVar

import pytest
import redis

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import metrics_key
from slo_router.contract.model import Snapshot
from slo_router.contract.redis.link import connect, connect_blocking
from slo_router.contract.settings.config import parse_settings
from slo_router.worker.snapshot import MetricsStore

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm
    from litellm.caching.redis_cache import RedisCache
    from litellm.proxy import proxy_server
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.router import Router

    from slo_router.gateway import narrowing
    from slo_router.gateway.config import redis_url
    from slo_router.gateway.hooks import Plugin


T = TypeVar("T")

USD_PER_TOKEN = {"small": 1e-7, "medium": 5e-7, "large": 5e-6}
MODEL_LIST = [
    {
        "model_name": "smart",
        "litellm_params": {
            "model": f"openai/{name}",
            "api_base": "http://127.0.0.1:9/v1",
            "api_key": "none",
            "input_cost_per_token": price,
            "output_cost_per_token": price,
        },
        "model_info": {"id": name, "max_input_tokens": 32_000, "slo_router": {"quality": 0.9}},
    }
    for name, price in USD_PER_TOKEN.items()
]
MESSAGES = [{"role": "user", "content": "Summarize in one sentence: the cat sat on the mat. " * 50}]


class Watched(Generic[T]):
    """Runs a coroutine, and notes the socket operations and functions that it calls, and how often it waits."""

    def __init__(self, coroutine: Coroutine[object, object, T]) -> None:
        self._coroutine = coroutine
        self.socket_operations: list[str] = []
        self.waits = 0
        self.called: Counter[str] = Counter()

    def __await__(self) -> Generator[object, None, T]:
        while True:
            sys.setprofile(self._note)
            try:
                waits_for = self._coroutine.send(None)
            except StopIteration as finished:
                result: T = finished.value
                return result
            finally:
                sys.setprofile(None)
            self.waits += 1
            yield waits_for

    def _note(self, frame: FrameType, event: str, what: object) -> None:
        if event == "call":
            self.called[frame.f_code.co_name] += 1
        elif event == "c_call" and isinstance(what, BuiltinFunctionType):
            owner = what.__self__
            if isinstance(owner, socket.SocketType) or getattr(owner, "__name__", None) == "_socket":
                self.socket_operations.append(what.__name__)


def document(redis_url: str | None, refresh_interval_s: float) -> dict[str, object]:
    section = {"groups": {"smart": {"slo": {"ttft_ms": 150}}}, "refresh_interval_s": refresh_interval_s}
    return {
        "model_list": MODEL_LIST,
        "callback_settings": {"slo_router": section | ({"redis_url": redis_url} if redis_url else {})},
    }


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey with measurements: `small` is too slow for the group's SLO."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        with redis.Redis.from_url(server.url) as client:
            for name, ttft_ms in {"small": 500, "medium": 80, "large": 120}.items():
                fields = {"ttft_ms": ttft_ms, "timestamp": time.time()}
                client.hset(metrics_key("", name, "summarization"), mapping=fields)
        yield server


@pytest.fixture
def router() -> Iterator[Router]:
    """LiteLLM's router, stored where the proxy stores it when it loads its configuration."""
    before, proxy_server.llm_router = proxy_server.llm_router, Router(model_list=MODEL_LIST)
    yield proxy_server.llm_router
    proxy_server.llm_router = before


async def request(plugin: Plugin, router: Router) -> tuple[Mapping[str, object], dict[str, str] | None]:
    """One request as the proxy handles it, from arrival to headers, without the call of the model."""
    data: dict[str, object] = {"model": "smart", "messages": MESSAGES, "metadata": {}}
    await plugin.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
    newer = hasattr(router, "select")  # LiteLLM 1.109
    select = router.select if newer else router.async_get_available_deployment
    chosen = await select("smart", request_kwargs=data, messages=MESSAGES)
    await plugin.async_pre_call_deployment_hook({**data, "model_info": chosen["model_info"]}, "acompletion")
    answer = await plugin.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), object())
    return chosen, answer


async def measured(plugin: Plugin) -> None:
    """Waits until the background jobs have read Redis and prepared what is known of the deployments."""
    async with asyncio.timeout(60):
        while all(known.measured_at_s is None for known in plugin.strategy._knowledge._known.get("small", {}).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def listed() -> Iterator[Callable[[Plugin], None]]:
    """Makes a plugin LiteLLM's only callback, as in a proxy of its own."""
    before = litellm.callbacks
    yield lambda plugin: setattr(litellm, "callbacks", [plugin])
    litellm.callbacks = before


@pytest.mark.parametrize("narrowed", [False, True], ids=["final", "narrowed"])
async def test_a_request_makes_no_socket_operation(
    router: Router,
    valkey: ValkeyServer,
    listed: Callable[[Plugin], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    narrowed: bool,
) -> None:
    """This holds with and without asking LiteLLM for its pool. LiteLLM's own window check is left out: it tokenizes."""
    monkeypatch.setattr(narrowing, "narrows_all", lambda *_: narrowed)
    plugin = Plugin(parse_settings(document(valkey.url, 0.02), {}))
    listed(plugin)
    await measured(plugin)

    for _ in range(20):  # several refreshes fall in between
        watched = Watched(request(plugin, router))
        chosen, headers = await watched

        assert watched.socket_operations == []
        assert watched.called["decide"] == 1
        assert ("healthy_pool" in watched.called) == narrowed
        assert watched.waits == 0
        assert not watched.called.keys() & {"create_task", "run_in_executor", "token_counter", "span_attributes"}
        assert chosen["model_info"]["id"] == "medium"  # type: ignore[index]
        assert headers is not None
        assert headers["x-slo-predicted-ttft-ms"] == "80.0"  # from Redis
        await asyncio.sleep(0.005)


async def test_the_watch_sees_the_refresh_talk_to_redis(valkey: ValkeyServer) -> None:
    client = connect(valkey.url)

    refresh = Watched(MetricsStore("").refresh(client, ["small"], ["summarization"]))
    await refresh
    await client.aclose()

    assert "connect" in refresh.socket_operations
    assert refresh.called["create_task"] > 0  # it sends with a time limit
    assert refresh.waits > 0


async def test_the_watch_sees_a_message_sent() -> None:
    async def send() -> None:
        left.sendall(b"PING")

    left, right = socket.socketpair()
    with left, right:
        sending = Watched(send())
        await sending

    assert sending.socket_operations == ["sendall"]


async def test_the_watch_sees_a_tokenizer() -> None:
    async def count() -> int:
        return int(litellm.token_counter(model="gpt-4", messages=MESSAGES))

    counting = Watched(count())

    assert await counting > 0
    assert counting.called["token_counter"] >= 1


async def test_a_decision_that_fails_leaves_the_choice_to_litellm(
    router: Router, listed: Callable[[Plugin], None], caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Plugin(parse_settings(document(None, 60.0), {}))
    listed(plugin)
    plugin.take_over()
    plugin.strategy.store.snapshot = Snapshot(measured=None)  # type: ignore[arg-type]  # broken

    chosen, headers = await request(plugin, router)

    deployment = chosen["model_info"]["id"]  # type: ignore[index]
    assert deployment in USD_PER_TOKEN
    assert plugin.picker.fail_open_count == 1
    assert headers == {
        "x-slo-decision": "passthrough",
        "x-slo-reason": "the decision failed; LiteLLM chose",
        "x-slo-selected-model": deployment,
    }
    assert "a decision failed; LiteLLM chose (1 times so far)" in caplog.text
    assert "AttributeError" in caplog.text


def test_litellms_own_redis_is_reached_whatever_its_password(tmp_path: Path) -> None:
    password = "p@ss/w:rd#%?"
    with ValkeyServer(tmp_path, options={"requirepass": password}) as server:
        before = proxy_server.redis_usage_cache
        proxy_server.redis_usage_cache = RedisCache(host="127.0.0.1", port=server.port, password=password)
        try:
            url = redis_url()
        finally:
            proxy_server.redis_usage_cache = before
        assert url is not None
        with connect_blocking(url) as client:
            assert client.ping()
