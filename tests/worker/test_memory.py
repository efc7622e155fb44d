"""No container of a worker grows with its traffic beyond a bound, whatever the requests are, and if they never end.

The test counts every container that can be reached from the plugin or from one of its modules, after some hundred
requests and again after three times as many. No two requests are alike. A container that grows, or a new one, needs a
bound in this file.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import pkgutil
import time
import types
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import slo_router
from slo_router.contract.model import Facts
from slo_router.contract.settings.config import parse_settings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.live import live
from slo_router.live.circuit import FAILURES
from slo_router.live.live import Live
from slo_router.live.probes import Health
from slo_router.request import conversations
from slo_router.request.lengths import bucket
from slo_router.telemetry import telemetry
from slo_router.worker.learning.answers import Answers
from slo_router.worker.probing import UNCLEAR_S
from slo_router.worker.tasks.turns import at_once
from tests.shared.background_worker import Worker, until
from tests.shared.builders import NOW_S, REQUEST

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # LiteLLM reads no .env file
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's warnings
    import litellm
    from litellm.proxy import proxy_server
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.router import Router

    from slo_router.gateway import ends
    from slo_router.gateway.hooks import Plugin


REQUESTS = 150
SLACK = 30  # for late elements: a label's first use, a retry
NAMES = ("a", "b", "c")
# The containers that may grow, with their bounds. The bounds are made small, so that the test does not take minutes.
SMALL = {
    (conversations, "MOST"): 40,
    (conversations, "NEWS"): 20,
    (live, "MOST_FLIGHTS"): 20,
    (ends, "MOST_ENDED"): 20,
    (ends, "MOST_BROKEN"): 20,
    (telemetry, "MOST_DEPLOYMENTS"): 2,
}
QUEUE, LABELS = 25, 3
LENGTHS = len({bucket(tokens) for tokens in range(1, 10 * REQUESTS)})  # different answer lengths of one deployment
# Caches that never forget, but stay small: of at most 11 flags, without arguments, or of the command line only.
UNBOUNDED = {"_asked", "default_rules", "_look", "_read_price_map"}  # the last: in tests alone


def model_list() -> list[dict[str, object]]:
    return [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": "Hi."},
            "model_info": {"id": name, "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
        }
        for name in NAMES
    ]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Plugin]:
    """A whole plugin without Redis and with a file that never opens, and LiteLLM's router."""
    for (module, name), value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    before, router = litellm.callbacks, proxy_server.llm_router
    section = {
        "groups": {"smart": {"stickiness": True, "min_quality": 0}},
        "redis_url": "redis://127.0.0.1:1",
        "log": {"queue_size": QUEUE, "jsonl_path": str(tmp_path / "r.jsonl")},
        "metrics": {"teams": LABELS, "keys": LABELS},
        "health_probes": False,
    }
    document = {"model_list": model_list(), "callback_settings": {"slo_router": section}}
    made = Plugin(parse_settings(document, {}), CollectorRegistry())
    os.mkfifo(tmp_path / f"r.{os.getpid()}.jsonl")
    litellm.callbacks = [made]
    proxy_server.llm_router = Router(model_list=model_list())
    yield made
    litellm.callbacks, proxy_server.llm_router = before, router
    os.close(os.open(tmp_path / f"r.{os.getpid()}.jsonl", os.O_RDONLY | os.O_NONBLOCK))  # frees the file's thread


async def ask(made: Plugin, number: int) -> None:
    """One request with its own key, team, conversation and SLO. Some requests fail, break, or never end."""
    headers = {"x-slo-ttft-ms": str(1_000 + number)}
    data: dict[str, object] = {
        "model": "smart",
        "messages": [{"role": "user", "content": f"Request {number}."}],
        "metadata": {},
        "proxy_server_request": {"headers": headers},
        "stream": True,
    }
    key = UserAPIKeyAuth(token=f"key-{number}", key_alias=f"alias-{number}", team_id=f"team-{number}")
    await made.async_pre_call_hook(key, None, data, "acompletion")
    listed: list[Mapping[str, object]] = [*model_list()]
    (chosen,) = await made.async_filter_deployments("smart", listed, data["messages"], data)
    await made.async_pre_call_deployment_hook({**data, **chosen}, "acompletion")
    name, at_s = chosen["model_info"]["id"], time.time()  # type: ignore[index]
    payload = {
        "id": f"request-{number}",
        "status": "success",
        "stream": True,
        "model_id": name,
        "model_group": "smart",
        "startTime": at_s,
        "completionStartTime": at_s + 0.1,
        "endTime": at_s + 1,
        "prompt_tokens": 10,
        "completion_tokens": 10 + number,
        "response_cost": 1e-4,
        "metadata": {"user_api_key_hash": f"key-{number}", "user_api_key_team_id": f"team-{number}"},
    }
    event: dict[str, object] = {"litellm_params": data, "standard_logging_object": payload}
    match number % 5:
        case 0:
            return  # LiteLLM never reports its end
        case 1:
            await made.async_log_failure_event(event, None, None, None)  # the stream broke, and may go on elsewhere
        case 2:
            await made.async_post_call_failure_hook(data, litellm.Timeout("late", "m", "p"), key)
        case _:
            await made.async_log_success_event(event, None, None, None)


def sizes(root: object) -> Counter[str]:
    """The number of elements in all containers of a kind, by the path that leads to them."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    pending: deque[tuple[str, object]] = deque([("plugin", root)])
    pending.extend(of_modules())
    while pending:
        way, one = pending.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if hasattr(one, "qsize"):
            found[way] += one.qsize()
        if isinstance(one, Mapping | list | set | frozenset | deque):
            found[way] += len(one)
        pending.extend((f"{way}{step}", part) for step, part in parts_of(one))
    return found


def of_modules() -> Iterator[tuple[str, object]]:
    for name, module in our_modules():
        for variable, value in vars(module).items():
            if isinstance(value, dict | list | set | deque) and not variable.startswith("__"):
                yield f"{name}.{variable}", value


def our_modules() -> Iterator[tuple[str, types.ModuleType]]:
    for found in pkgutil.walk_packages(slo_router.__path__, "slo_router."):
        if not found.name.startswith(("slo_router.operator", "slo_router.proxy")):
            yield found.name, importlib.import_module(found.name)


def parts_of(one: object) -> Iterator[tuple[str, object]]:
    """The parts of an object, if it is a container or of one of our classes."""
    match one:
        case dict() | types.MappingProxyType():
            yield from (("[]", value) for value in one.values())
            yield from (("[key]", key) for key in one if isinstance(key, tuple))
        case list() | tuple() | set() | frozenset() | deque():
            yield from (("[]", value) for value in one)
        case types.MethodType():
            yield ".__self__", one.__self__
        case types.FunctionType() if one.__closure__:
            yield from ((".closure", cell.cell_contents) for cell in one.__closure__)
        case functools.partial():
            yield from ((".partial", value) for value in (one.func, *one.args))
        case _ if not isinstance(one, type) and type(one).__module__.startswith("slo_router"):
            names = itertools.chain.from_iterable(getattr(kind, "__slots__", ()) for kind in type(one).__mro__)
            held = {**getattr(one, "__dict__", {}), **{name: getattr(one, name, None) for name in names}}
            yield from ((f".{name}", value) for name, value in held.items() if name != "__weakref__")


def _bound(way: str, bounds: Mapping[str, int]) -> int:
    """The bound of a container, or of the container around it: the parts of a kept request are kept with it."""
    return max((bound for outer, bound in bounds.items() if way.startswith(outer)), default=0)


async def test_nothing_grows_with_the_traffic_beyond_its_bound(plugin: Plugin) -> None:
    plugin.take_over()
    numbers = itertools.count()
    measured = []
    for count in (REQUESTS, 3 * REQUESTS):
        for _ in range(count):
            await ask(plugin, next(numbers))
            if next(numbers) % 25 == 0:
                plugin.settle()
        plugin.strategy.absorb(())
        measured.append(sizes(plugin))
    await plugin._background.aclose()
    before, after = measured
    assert plugin.picker.fail_open_count == 0
    assert (
        after["plugin.strategy.homes._conversations._turns"] == SMALL[conversations, "MOST"]
    )  # shows that the walk finds containers
    assert after["plugin.request_log._queue"] == QUEUE
    assert plugin.request_log.dropped > REQUESTS
    bounds = {
        "plugin.strategy.live.states[].flights": len(NAMES) * SMALL[live, "MOST_FLIGHTS"],
        "plugin.strategy._lessons._awaited": len(NAMES) * SMALL[live, "MOST_FLIGHTS"],
        "plugin.ends._broken": SMALL[ends, "MOST_BROKEN"],
        "plugin.strategy.answers._seen[]": len(NAMES) * LENGTHS,
    }
    grew = {
        way: (before[way], count)
        for way, count in after.items()
        if count > max(_bound(way, bounds), before[way] + SLACK)
    }
    assert grew == {}


def test_every_cache_of_a_function_has_a_bound() -> None:
    caches = {
        variable: value.cache_info().maxsize
        for _, module in our_modules()
        for variable, value in vars(module).items()
        if hasattr(value, "cache_info")
    }
    assert {name for name, most in caches.items() if most is None} <= UNBOUNDED
    assert {"limits_of", "_prior_bins"} <= set(caches)


def test_deployments_that_come_and_go_leave_nothing_behind() -> None:
    """LiteLLM's database may add and remove them while the proxy runs."""
    known = Live()
    for number in range(300):
        flight = known.dispatched(f"d{number}", 0.0)
        known.forget([f"d{number + 1}"])
        assert known.ended(flight, "success", 1.0) is None  # the request ends after its deployment is gone
        assert not known.is_under_way(flight)
    assert known.states == {}


def test_of_models_that_come_and_go_no_length_is_kept() -> None:
    answers = Answers()
    for number in range(30):
        facts = {name: Facts(name, name) for name in ("m0", f"m{number}")}
        answers.know(facts)
        for name in facts:
            answers.hear([["ner", name, 50, False, ""]], ["ner"], NOW_S)
        at_once(answers.refit(facts, {}, NOW_S))
        assert answers.lengths(REQUEST).keys() == facts.keys()
    kept = [value for value in vars(answers).values() if isinstance(value, dict)]
    assert max(map(len, kept)) <= 5


async def test_what_a_health_check_could_not_tell_is_forgotten_with_its_time_or_its_deployment() -> None:
    async def ask_in_vain(_: str) -> Health:
        return "unclear"

    async with Worker(ask=ask_in_vain) as worker:
        seen, probing = worker.strategy.live, worker.background._probing
        for name in ("a", "b"):
            for _ in range(FAILURES):
                seen.finished(seen.dispatched(name, time.time()), "error", time.time())
        await until(lambda: set(probing._unclear) == {"a", "b"})
        worker.strategy.know([ManagedDeployment("smart", Facts("a", "m"))])
        await until(lambda: set(probing._unclear) == {"a"})
        probing._unclear["a"] -= UNCLEAR_S  # as if it were longer ago
        await until(lambda: probing._unclear.get("a", 0) > time.time() - UNCLEAR_S)  # the deployment was asked again
