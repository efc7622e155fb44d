"""One stock proxy with the plugin, one real Valkey and three emulated endpoints, shared by the end-to-end tests; one
proxy with live measurements, shared by the tests of these (`live`); and one (`streams`) shared by modules that each
bring their own groups.

small   cheap, weak, 2,000 tokens of context        quality 0.60
medium  five times the price                        quality 0.80
large   fifty times the price                       quality 0.95
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import time
from collections import ChainMap
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
import pytest
import redis

from evaluation.demo import custom_auth
from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.stock_proxy import LOCAL, StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import OFF_KEY
from tests.e2e.own_tasks import tasks_group
from tests.e2e.stuck import dripping
from tests.shared.forked_proxies import _proxies_are_forked  # noqa: F401  # a fixture
from tests.shared.particular_server import GOOD, Particular, particular
from tests.shared.units import unit_of

CATEGORIES = ("ner", "summarization", "reasoning", "code", "chat")
TTFT_MS = {"small": 60.0, "medium": 80.0, "large": 120.0}
TPOT_MS = {"small": 4.0, "medium": 6.0, "large": 10.0}
QUALITY = {"small": 0.60, "medium": 0.80, "large": 0.95}
USD_PER_TOKEN = {"small": 1e-7, "medium": 5e-7, "large": 5e-6}
CONTEXT_TOKENS = {"small": 2_000, "medium": 8_000, "large": 32_000}
SPECS = [
    EndpointSpec(name=name, ttft_ms=5, tpot_ms=1, output_tokens=24, context_tokens=CONTEXT_TOKENS[name], slots=64)
    for name in TTFT_MS
]
REFUSALS = (400, 401, 402, 403, 404)
STOPPING = """
from fastapi import HTTPException
from litellm.exceptions import GuardrailRaisedException
from litellm.integrations.custom_guardrail import CustomGuardrail

class Stops(CustomGuardrail):
    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for piece in response:
            yield piece
            if "HTTP" in str(request_data["messages"]):
                raise HTTPException(400, "blocked")
            raise GuardrailRaisedException("stops", "blocked")
"""
BOOKED = """
import json, pathlib
from litellm.integrations.custom_logger import CustomLogger

class Booked(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        said = kwargs["standard_logging_object"]
        row = said["model_group"], said["model_id"], said["response_cost"]
        with pathlib.Path(__file__).with_name("booked.jsonl").open("a") as file:
            file.write(json.dumps(row) + chr(10))

callback = Booked()
"""
ODD_USD = 1e-6, 2e-6  # per token of prompt and answer
NO_CHATS: dict[str, tuple[str, dict[str, object]]] = {  # groups whose server is asked in another form: model, facts
    "messages": ("anthropic/odd", {}),
    "google": ("gemini/odd", {}),
    "bridged": ("openai/bridged", {"mode": "responses"}),  # LiteLLM keeps a mode under the model's name
}
REFRESHED_WITHIN_S = 60.0
SOON: dict[str, Any] = {"x_litellm_timeout": "3", "x_litellm_stream_timeout": "3"}  # seconds, for one that meets a hang
STREAMING = tuple(
    f"tests.e2e.test_{name}"
    for name in (
        *("ceilings", "conversations", "first_token"),
        *("rescue", "rescue_broken", "rescue_healthy", "sessions", "thinking"),
    )
)
LITELLM = tuple(int(number) for number in version("litellm").split(".")[:2])
collect_ignore = [] if LITELLM >= (1, 109) else ["test_continuation.py"]  # before, LiteLLM continues no stream
ASK = "Summarize this in one sentence: the cat sat on the mat and looked at the rain."


def deployment(
    handle: Handle, group: str, deployment_id: str, like: str | None = None, **info: object
) -> dict[str, object]:
    """One entry of `model_list` on an emulated endpoint, with the facts of the one that it is named or `like`."""
    name = like or handle.name
    price = USD_PER_TOKEN[name]
    return {
        "model_name": group,
        "litellm_params": {
            "model": f"openai/{handle.name}",
            "api_base": handle.api_base,
            "api_key": "none",
            "input_cost_per_token": price,
            "output_cost_per_token": 2 * price,
            "timeout": 60,
            "stream_timeout": 60,
        },
        "model_info": {
            "id": deployment_id,
            "max_input_tokens": CONTEXT_TOKENS[name],
            "slo_router": {"quality": QUALITY[name]},
            **info,
        },
    }


def document(handles: Sequence[Handle], redis_url: str | None, **plugin: object) -> dict[str, object]:
    """A whole proxy configuration: the managed group `smart`, the unmanaged group `plain`.

    It routes by what a test publishes, whatever earlier tests did to an endpoint: live measurements, which have tests
    and a proxy of their own, are off.
    """
    group = {"slo": {"ttft_ms": 1000}, "min_quality": 0.5, "trial_share": 0}
    section: dict[str, object] = {"groups": {"smart": group}, "live_measurements": False, **plugin}
    if redis_url is not None:
        section["redis_url"] = redis_url
    return {
        "model_list": [
            *(deployment(handle, "smart", handle.name) for handle in handles),
            *(deployment(handle, "plain", f"plain-{handle.name}") for handle in handles[:2]),
        ],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": section},
        "router_settings": {"num_retries": 2, "disable_cooldowns": True, "model_group_alias": {"gpt-smart": "smart"}},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def publish(client: redis.Redis, prefix: str = "", **changed: Mapping[str, object]) -> None:
    """Writes plausible metrics of every deployment and category; `changed` overrides fields of a deployment."""
    for name in TTFT_MS:
        publish_one(client, prefix, name, name, changed.get(name, {}))


def publish_one(
    client: redis.Redis, prefix: str, deployment_id: str, like: str, changed: Mapping[str, object] | None = None
) -> None:
    """Writes the metrics of the one that it is `like`."""
    fields = {
        "ttft_ms": TTFT_MS[like],
        "tpot_ms": TPOT_MS[like],
        "throughput_tps": 1000 / TPOT_MS[like],
        "error_rate": 0.0,
        "timestamp": time.time(),
        **(changed or {}),
    }
    with client.pipeline() as transaction:  # a worker reads all of it or none
        for category in CATEGORIES:
            key = f"{prefix}metrics:{deployment_id}:{category}"
            transaction.delete(key)
            transaction.hset(key, mapping={field: str(value) for field, value in fields.items()})
        transaction.execute()


def refreshed(proxy: StockProxy, client: redis.Redis, prefix: str = "", workers: int = 1) -> None:
    """Returns when every worker of a proxy has read all of Redis once more, by the workers' own word.

    A worker logs each group that it finds switched off. Once it has logged the first marker it begins another reading,
    and once it has logged the second that reading is over.
    """
    for _ in range(2):
        marker = f"marker-{secrets.token_hex(4)}"
        client.sadd(prefix + OFF_KEY, marker)
        deadline_s = time.monotonic() + REFRESHED_WITHIN_S
        while proxy.log.count(f"group {marker} is switched off") < workers:
            assert time.monotonic() < deadline_s, f"a worker did not read Redis within {REFRESHED_WITHIN_S:g} s"
            time.sleep(0.02)
        client.srem(prefix + OFF_KEY, marker)


@dataclass
class Stack:
    """The running parts, and what tests do with them."""

    proxy: StockProxy
    valkey: ValkeyServer
    endpoints: Mapping[str, Handle]
    began_s: float
    changed: bool = False
    refresh_interval_s: float = 0.2
    prefix: str = ""
    streams: int = 0  # that the plugin routed

    @property
    def redis(self) -> redis.Redis:
        """A client of the proxy's Valkey."""
        return redis.Redis.from_url(self.valkey.url, decode_responses=True, socket_timeout=60)

    def post(self, path: str, body: Mapping[str, object], **headers: str) -> httpx.Response:
        """One request with the master key; header names are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        proxy = self._asked()
        answer = LOCAL.post(f"{proxy.url}{path}", json=body, headers={**proxy.auth, **named})
        self.streams += bool(body.get("stream") and answer.is_success and "x-slo-decision" in answer.headers)
        return answer

    def _asked(self) -> StockProxy:
        """The proxy that gets the next request."""
        return self.proxy

    def ask(
        self, text: str = ASK, model: str = "smart", body: Mapping[str, object] | None = None, **headers: str
    ) -> httpx.Response:
        """One chat completion."""
        content = {"model": model, "messages": [{"role": "user", "content": text}], **(body or {})}
        return self.post("/v1/chat/completions", content, **headers)

    def seen(self) -> dict[str, int]:
        """How many requests each endpoint got since the test began; those with none are left out."""
        return {name: len(handle.seen()) for name, handle in self.endpoints.items() if handle.seen()}

    def records(self, count: int, within_s: float = 60.0) -> list[dict[str, object]]:
        """The records of requests since the test began: waits for `count`, then a little longer for any too many."""
        deadline_s = time.monotonic() + within_s
        while len(found := self._records()) < count and time.monotonic() < deadline_s:
            time.sleep(0.05)
        if len(found) == count:
            self.refreshed()
        return self._records()

    def settle(self) -> None:
        """Waits for the records of the streams, which end a moment after their last byte: they are this test's."""
        deadline_s = time.monotonic() + 60
        while sum(bool(record["stream"]) for record in self._records()) < self.streams:
            assert time.monotonic() < deadline_s, "no record of a stream within 60 s"
            time.sleep(0.02)

    def _records(self) -> list[dict[str, object]]:
        stream, began = f"{self.prefix}slo_router:requests", int(1_000 * self.began_s)  # an entry's id is its time
        entries = cast("list[tuple[str, dict[str, str]]]", self.redis.xrange(stream, min=began))
        records = [json.loads(fields["record"]) for _, fields in entries]
        return [record for record in records if record["ts"] >= self.began_s]

    def publish(self, **changed: Mapping[str, object]) -> None:
        """Writes metrics, and waits until the proxy has read them."""
        publish(self.redis, "", **changed)
        self.changed = bool(changed)
        self.refreshed()

    def refreshed(self) -> None:
        """Waits until the proxy has read Redis once more."""
        refreshed(self.proxy, self.redis, self.prefix)


_shared = ExitStack()  # what modules share
SHARED_PROXIES = {"proxy": "stack", "_live": "live", "streams": "streams"}  # fixtures, and the units that share them


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails a test that asks for a shared proxy outside its unit, with whose last test the proxy ends."""
    definitions: Mapping[str, Sequence[pytest.FixtureDef[object]]] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    for fixture, unit in SHARED_PROXIES.items():
        is_shared = fixture in definitions and definitions[fixture][-1].baseid == "tests/e2e"
        if is_shared and unit_of(item.path) != unit:
            pytest.fail(f"{item.path.name} shares a proxy: tests/shared/units.py must name it {unit!r}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Ends it with the last test that shares it, for a proxy that waits takes a tenth of a core."""
    try:
        return (yield)
    finally:
        if nextitem is None or unit_of(nextitem.path) != unit_of(item.path):
            _shared.close()


@pytest.fixture(scope="session")
def handles() -> Iterator[Sequence[Handle]]:
    with running_endpoints(SPECS) as running:
        yield running


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def odd() -> Iterator[Particular]:
    """A model server that answers as a test says, behind groups of the shared proxy."""
    with particular(lambda _: GOOD) as server:
        yield server


@pytest.fixture(scope="session")
def proxy(
    handles: Sequence[Handle], odd: Particular, valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockProxy]:
    """Beside `document` it has `odd`, and what test_fallbacks.py asks: `strict` falls back to `outside`, and that to
    `smart`. The cheap one of `graded` has no typed quality, see test_quality.py. `tasks` has those of test_tasks.py,
    `overheard` what test_implicit.py asks.
    """
    client = redis.Redis.from_url(valkey.url)
    publish(client)
    directory: Path = tmp_path_factory.mktemp("proxy")
    settings = document(handles, valkey.url, refresh_interval_s=Stack.refresh_interval_s, feedback=True)
    small, medium, large = handles
    more_models = [deployment(small, "outside", "outside-small"), deployment(medium, "strict", "strict-medium")]
    more_models += [deployment(small, "graded", "untyped", slo_router={}), deployment(large, "graded", "typed")]
    settings["callback_settings"]["slo_router"]["groups"]["graded"] = {"trial_share": 0}  # type: ignore[index]
    for group, target in (("valued", {"quality_of_best": 0.75}), ("budgeted", {"usd_per_day": 1_000})):  # test_value.py
        more_models += [deployment(one, group, f"{group}-{one.name}") for one in (small, large)]
        settings["callback_settings"]["slo_router"]["groups"][group] = {  # type: ignore[index]
            "objective": "value",
            "target": target,
            "trial_share": 0,
        }
    prices = {"input_cost_per_token": ODD_USD[0], "output_cost_per_token": ODD_USD[1]}
    more_models += [deployment(small, "tasks", "tasks-small"), deployment(large, "tasks", "tasks-large")]
    settings["callback_settings"]["slo_router"]["groups"]["tasks"] = tasks_group(directory)  # type: ignore[index]
    server = {"model": "openai/odd", "api_base": odd.api_base, "api_key": "none", **prices}
    more_models.append({"model_name": "odd", "litellm_params": server, "model_info": {"id": "odd"}})
    settings["callback_settings"]["slo_router"]["groups"]["odd"] = {}  # type: ignore[index]
    for group, (model, facts) in NO_CHATS.items():
        params, info = {**server, "model": model}, {"id": f"{group}-odd", **facts}
        more_models.append({"model_name": group, "litellm_params": params, "model_info": info})
        settings["callback_settings"]["slo_router"]["groups"][group] = {}  # type: ignore[index]
    more_models.append(deployment(small, "overheard", "overheard-small", slo_router={"quality": 0.9}))
    best = {"id": "overheard-odd", "slo_router": {"quality": 0.99}}
    more_models.append({"model_name": "overheard", "litellm_params": server, "model_info": best})
    signals = ["schema_violated", "tool_call_refused", "asked_again"]
    settings["callback_settings"]["slo_router"]["groups"]["overheard"] = {"implicit_feedback": signals}  # type: ignore[index]
    settings["model_list"] += more_models  # type: ignore[operator]
    settings["callback_settings"]["slo_router"]["groups"]["strict"] = {"trial_share": 0}  # type: ignore[index]
    settings["router_settings"] |= {"fallbacks": [{"outside": ["smart"]}, {"strict": ["outside"]}]}  # type: ignore[operator]
    running = _shared.enter_context(StockProxy(settings, directory))
    refreshed(running, client)
    yield running
    _shared.close()


@pytest.fixture
def stack(proxy: StockProxy, valkey: ValkeyServer, handles: Sequence[Handle]) -> Iterator[Stack]:
    """The shared stack as a test finds it: metrics published, no faults, nothing seen."""
    running = Stack(proxy, valkey, {handle.name: handle for handle in handles}, time.time())
    for handle in handles:
        handle.reset()
    yield running
    running.settle()
    for handle in handles:
        handle.reset()
    if running.changed:
        running.publish()


@pytest.fixture(scope="session")
def _live(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Beside `document` it has what test_refusals.py asks. Its `metrics_url` drips, and its file of records is a pipe.
    The guardrail `stops` ends a stream after its first piece.

    short         its cheap deployment gives short answers only
    mixed         its cheap deployment makes embeddings
    tried         half of its requests may be trials of a deployment that evidence excludes
    group-refuses-400   and so on: its cheap one, refuses-400, has an endpoint of its own, which may refuse so
    """
    prefix = "live:"
    refusing = [replace(SPECS[0], name=f"refuses-{status}") for status in REFUSALS]
    directory = tmp_path_factory.mktemp("live")
    handles = _shared.enter_context(running_endpoints([*SPECS, *refusing]))
    metrics_url = _shared.enter_context(dripping())
    (small, medium, _), others = handles[:3], handles[3:]
    settings = document(
        handles[:3],
        valkey.url,
        live_measurements=True,
        refresh_interval_s=Stack.refresh_interval_s,
        key_prefix=prefix,
        log={"jsonl_path": str(directory / "records.jsonl")},
    )
    settings["model_list"][1]["model_info"]["slo_router"]["metrics_url"] = metrics_url  # type: ignore[index]
    embedding = deployment(small, "mixed", "mixed-embedding", mode="embedding")
    embedding["litellm_params"]["model"] = "openai/embedding"  # type: ignore[index]  # LiteLLM keeps a mode by name
    settings["model_list"] += [  # type: ignore[operator]
        deployment(small, "short", "short-small", max_output_tokens=4_096),
        deployment(medium, "short", "short-medium", max_output_tokens=64_000),
        embedding,
        deployment(medium, "mixed", "mixed-medium"),
        deployment(small, "tried", "tried-small"),
        deployment(medium, "tried", "tried-medium"),
        *(deployment(one, f"group-{one.name}", one.name, like="small") for one in others),
        *(deployment(medium, f"group-{one.name}", f"{one.name}-medium") for one in others),
    ]
    groups = settings["callback_settings"]["slo_router"]["groups"]  # type: ignore[index]
    groups |= {name: {"trial_share": 0} for name in ("short", "mixed", *(f"group-{one.name}" for one in others))}
    groups["tried"] = {"trial_share": 0.5}
    (directory / "stopping.py").write_text(STOPPING, encoding="utf-8")
    stops = {"guardrail": "stopping.Stops", "mode": "post_call"}
    settings["guardrails"] = [{"guardrail_name": "stops", "litellm_params": stops}]
    client = redis.Redis.from_url(valkey.url)
    publish(client, prefix)
    for one in others:
        publish_one(client, prefix, one.name, "small")
        publish_one(client, prefix, f"{one.name}-medium", "medium")
    proxy = _shared.enter_context(StockProxy(settings, directory))
    assert proxy._process is not None
    os.mkfifo(directory / f"records.{proxy._process.pid}.jsonl")
    running = Stack(proxy, valkey, {handle.name: handle for handle in handles}, time.time(), prefix=prefix)
    running.refreshed()
    yield running
    _shared.close()


@pytest.fixture
def live(_live: Stack) -> Iterator[Stack]:
    """A stack of its own with live measurements; no endpoint has a fault, and none has seen anything."""
    for handle in _live.endpoints.values():
        handle.reset()
    yield _live
    for handle in _live.endpoints.values():
        handle.reset()


@dataclass(frozen=True, slots=True)
class Part:
    """What a module puts behind a proxy that it shares: entries of `model_list`, groups, and the servers of these.

    `keys` has what LiteLLM's `custom_auth` knows of each.
    """

    models: Sequence[Mapping[str, object]]
    groups: Mapping[str, object]
    servers: tuple[Any, ...] = ()
    fallbacks: Sequence[Mapping[str, object]] = ()
    keys: Mapping[str, object] = field(default_factory=dict)
    passed_on: Sequence[Mapping[str, object]] = ()  # LiteLLM's `pass_through_endpoints`


@dataclass(frozen=True, slots=True)
class Streams:
    """The proxy of `STREAMING`; `servers` has those of each module's part, by the module's name."""

    prefix: ClassVar[str] = "streams:"

    proxy: StockProxy
    redis: redis.Redis
    servers: Mapping[str, tuple[Any, ...]]

    def records(self) -> list[dict[str, Any]]:
        """Those of all requests."""
        entries = cast("list[tuple[str, dict[str, str]]]", self.redis.xrange(f"{self.prefix}slo_router:requests"))
        return [json.loads(fields["record"]) for _, fields in entries]


@pytest.fixture(scope="session")
def streams(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    """Live measurements are on. The callback `booked` writes down what LiteLLM books."""
    directory = tmp_path_factory.mktemp("streams")
    (directory / "booked.py").write_text(BOOKED, encoding="utf-8")
    shutil.copy(custom_auth.__file__, directory)
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    modules = [importlib.import_module(name) for name in STREAMING]  # they import this one
    parts: dict[str, Part] = {one.__name__: _shared.enter_context(one.part(client)) for one in modules}
    (directory / "keys.json").write_text(json.dumps(dict(ChainMap(*(dict(part.keys) for part in parts.values())))))
    section: dict[str, object] = {
        "groups": dict(ChainMap(*(dict(part.groups) for part in parts.values()))),
        "redis_url": valkey.url,
        "key_prefix": Streams.prefix,
        "refresh_interval_s": 0.2,
    }
    settings: dict[str, object] = {
        "model_list": [entry for part in parts.values() for entry in part.models],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback", "booked.callback"]},
        "callback_settings": {"slo_router": section},
        "router_settings": {
            "num_retries": 2,
            "disable_cooldowns": True,
            "fallbacks": [one for part in parts.values() for one in part.fallbacks],
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "custom_auth.user_api_key_auth",
            "pass_through_endpoints": [one for part in parts.values() for one in part.passed_on],
        },
    }
    proxy = _shared.enter_context(StockProxy(settings, directory))
    refreshed(proxy, client, Streams.prefix)
    yield Streams(proxy, client, {name: part.servers for name, part in parts.items()})
    _shared.close()
