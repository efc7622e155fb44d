"""Where the plugin does not decide, LiteLLM's picks are those that it makes alone: shadow, canary, off, unmanaged.

Requests with a seed each (1,000 in `make test-slow`) go through LiteLLM's router twice, with the plugin and without it,
and every deployment that was called is noted, in its order. From 1.110 on a weighted pick is made in Rust, where no
seed of ours reaches it: there the shares are compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from inspect import signature
from typing import NamedTuple, cast

import pytest

from slo_router.contract.settings.config import parse_settings

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # no .env file of whoever runs this
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.proxy import proxy_server
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.router import Router

    from slo_router.gateway.hooks import Plugin


RPM = 5
FAILS = "litellm.InternalServerError"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM reads its core here
    IS_SEEDED = not hasattr(Router, "select")  # the weighted pick, by Python's own randomness
# Each group has three deployments, told apart by one thing that LiteLLM's own pick goes by.
GROUPS: dict[str, list[dict[str, object]]] = {
    "ordered": [{"order": 1, "mock_response": FAILS}, {"order": 2}, {"order": 3}],
    "weighted": [{"weight": 1}, {"weight": 7}, {"weight": 2}],
    "tagged": [{"tags": ["a"]}, {"tags": ["b"]}, {"tags": ["b"], "mock_response": FAILS}],
    "failing": [{"mock_response": FAILS}, {"mock_response": FAILS}, {}],
}
LIMITED: dict[str, list[dict[str, object]]] = {"limited": [{"rpm": RPM}, {"rpm": RPM}, {"rpm": 10 * RPM}]}


class Spy(CustomLogger):  # type: ignore[misc]
    """Notes which deployments are called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, object], _: object) -> None:
        info = kwargs["model_info"]
        self.called.append(str(info["id"]))  # type: ignore[index]


class Outcome(NamedTuple):
    """One request: the group it asked, the deployments that were called, and the error it ended with."""

    group: str
    called: tuple[str, ...]
    error: str


def model_list(groups: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    return [
        {
            "model_name": group,
            "litellm_params": {"model": f"openai/{group}-{at}", "api_key": "k", "mock_response": "Hi.", **params},
            "model_info": {"id": f"{group}-{at}", "input_cost_per_token": 1e-6 * (3 - at)},
        }
        for group, entries in groups.items()
        for at, params in enumerate(entries)
    ]


def plugin(way: str, groups: dict[str, list[dict[str, object]]]) -> Plugin:
    modes = {"shadow": "shadow", "canary": {"canary": "0%"}}
    entries = model_list(groups)
    if way == "unmanaged":
        entries = [*entries, {**entries[0], "model_name": "another", "model_info": {"id": "another"}}]
    managed = ["another"] if way == "unmanaged" else list(groups)
    groups_ = {group: {"mode": modes.get(way, "route")} for group in managed}
    section = {"groups": groups_, "health_probes": False}  # a health check of LiteLLM's draws from the same randomness
    made = Plugin(parse_settings({"model_list": entries, "callback_settings": {"slo_router": section}}, {}))
    made.rollout.off = frozenset(managed if way == "off" else ())
    return made


@pytest.fixture
def spy() -> Iterator[Spy]:
    """Stands alone among LiteLLM's callbacks."""
    before, router = litellm.callbacks, proxy_server.llm_router
    watching = Spy()
    litellm.callbacks = [watching]
    yield watching
    litellm.callbacks, proxy_server.llm_router = before, router


async def ask(
    router: Router, made: Plugin | None, spy: Spy, group: str, seed: int, *, brought: Mapping[str, object]
) -> Outcome:
    metadata: dict[str, object] = {"tags": ["b"]} if group == "tagged" else {}
    data: dict[str, object] = {
        "model": group,
        "messages": [{"role": "user", "content": f"Request {seed}."}],
        "metadata": metadata,
        **brought,
    }
    if made is not None:
        await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
    spy.called.clear()
    random.seed(seed)
    error = ""
    try:
        await router.acompletion(**data)
    except Exception as raised:  # noqa: BLE001  # LiteLLM raises many kinds
        error = type(raised).__name__
    await GLOBAL_LOGGING_WORKER.flush()  # the next pick may hang on what is booked
    return Outcome(group, tuple(spy.called), error)


def route(spy: Spy, groups: dict[str, list[dict[str, object]]], **settings: object) -> tuple[Router, Plugin]:
    """LiteLLM's router with the plugin."""
    litellm.callbacks = []  # the router adds its own
    router = proxy_server.llm_router = Router(model_list=model_list(groups), disable_cooldowns=True, **settings)
    made = plugin("route", groups)
    litellm.callbacks = [made, spy, *litellm.callbacks]
    made.take_over()
    return router, made


async def outcomes(
    way: str,
    spy: Spy,
    groups: dict[str, list[dict[str, object]]],
    requests: int,
    **settings: object,
) -> list[Outcome]:
    """`brought` are settings that LiteLLM adds to each request, of its key or team; the others are the router's."""
    brought = cast("Mapping[str, object]", settings.pop("brought", {}))
    litellm.callbacks = []  # the router adds its own
    router = proxy_server.llm_router = Router(
        model_list=model_list(groups), disable_cooldowns=True, retry_after=0, **{"num_retries": 2, **settings}
    )
    made = None if way == "alone" else plugin(way, groups)
    litellm.callbacks = [*([] if made is None else [made]), spy, *litellm.callbacks]
    if made is not None:
        made.take_over()
    order = random.Random(7)
    asked = [order.choice(list(groups)) for _ in range(requests)]
    found = [await ask(router, made, spy, group, seed, brought=brought) for seed, group in enumerate(asked)]
    if made is not None:
        assert made.picker.fail_open_count == 0
    return found


def priced(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """Each ten times as dear as the one before."""
    return [
        {**entry, "input_cost_per_token": usd, "output_cost_per_token": usd}
        for usd, entry in zip((1e-7, 1e-6, 1e-5), entries, strict=True)
    ]


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM counts by the clock's minutes, and this one does not end."""
    now = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    for name, module in list(sys.modules.items()):
        if name.startswith("litellm") and hasattr(module, "get_utc_datetime"):
            monkeypatch.setattr(module, "get_utc_datetime", lambda: now)


def shares(found: list[Outcome], group: str) -> dict[str, float]:
    called = Counter(one.called[0] for one in found if one.group == group and one.called)
    return {name: count / called.total() for name, count in called.items()}


WAYS = ("shadow", "canary", "off", "unmanaged")


_alone: dict[int, list[Outcome]] = {}  # by the number of requests: the same, whatever they are compared with


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("requests", [40, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_requests_go_where_litellm_alone_would_send_them(spy: Spy, way: str, requests: int) -> None:
    settings = {"enable_tag_filtering": True, "enable_weighted_failover": True}
    if requests not in _alone:
        _alone[requests] = await outcomes("alone", spy, GROUPS, requests, **settings)
    alone = _alone[requests]
    assert {len(one.called) for one in alone if one.group == "ordered"} != {1}  # the failover was tried
    found = await outcomes(way, spy, GROUPS, requests, **settings)
    if IS_SEEDED:
        assert found == alone, way
        return
    assert [(one.group, one.error) for one in found] == [(one.group, one.error) for one in alone], way
    ordered = [one for one in found if one.group == "ordered"]
    assert ordered == [one for one in alone if one.group == "ordered"], way
    slack = 5 * (2 * 0.25 / (requests / len(GROUPS))) ** 0.5  # five standard deviations of the difference
    for group in GROUPS:
        expected, share = shares(alone, group), shares(found, group)
        assert all(abs(share.get(name, 0) - part) < slack for name, part in expected.items()), (way, group)


@pytest.mark.usefixtures("one_minute")
async def test_limits_of_requests_a_minute_are_kept_as_litellm_alone_keeps_them(spy: Spy) -> None:
    settings = {"routing_strategy": "usage-based-routing-v2"}
    requests = 2 * RPM + 3
    alone = await outcomes("alone", spy, LIMITED, requests, **settings)
    for way in WAYS:
        found = await outcomes(way, spy, LIMITED, requests, **settings)
        assert Counter(found) == Counter(alone), way


@pytest.mark.usefixtures("one_minute")
@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(
    "strategy", ["usage-based-routing-v2", "latency-based-routing", "cost-based-routing", "simple-shuffle"]
)
async def test_over_its_rpm_the_next_best_answers_and_no_client_sees_a_429(
    spy: Spy, strategy: str, retries: int
) -> None:
    settings = {"routing_strategy": strategy, "num_retries": retries}
    found = await outcomes("route", spy, {"limited": priced(LIMITED["limited"])}, 4 * RPM, **settings)
    assert [one.error for one in found] == [""] * len(found)
    called = Counter(one.called[-1] for one in found)
    if strategy == "usage-based-routing-v2":  # counts at once; the others when LiteLLM's log worker gets to it
        assert 0 < called["limited-0"] <= RPM
        assert 0 < called["limited-1"] <= RPM
        assert called["limited-2"] >= 2 * RPM


@pytest.mark.skipif("routing_groups" not in signature(Router).parameters, reason="LiteLLM has one strategy for all")
@pytest.mark.usefixtures("one_minute")
@pytest.mark.parametrize("whose", ["routing group", "key"])
async def test_so_it_is_where_a_routing_group_or_a_key_has_the_strategy(spy: Spy, whose: str) -> None:
    strategy = {"routing_strategy": "usage-based-routing-v2"}
    settings = {"routing_groups": [{"group_name": "all", "models": ["limited"], **strategy}]}
    settings, brought = ({}, strategy) if whose == "key" else (settings, {})
    entries = {"limited": priced(LIMITED["limited"])}
    found = await outcomes("route", spy, entries, 4 * RPM, brought=brought, **settings, num_retries=0)
    assert [one.error for one in found] == [""] * len(found)
    assert {one.called[-1] for one in found} == {"limited-0", "limited-1", "limited-2"}


async def test_a_keys_ceiling_holds_where_the_cheap_one_is_over_its_rpm(spy: Spy) -> None:
    prices = (1e-7, 1e-3)
    entries: list[dict[str, object]] = [
        {"rpm": RPM, "input_cost_per_token": usd, "output_cost_per_token": usd} for usd in prices
    ]
    entries[1]["rpm"] = 100 * RPM
    router, made = route(spy, {"limited": entries}, routing_strategy="usage-based-routing-v2", num_retries=0)
    key = UserAPIKeyAuth(metadata={"slo_limits": {"cost_per_1k": {"max": 0.01}}})
    for number in range(3 * RPM):
        data: dict[str, object] = {
            "model": "limited",
            "messages": [{"role": "user", "content": f"{number}"}],
            "metadata": {},
        }
        await made.async_pre_call_hook(key, None, data, "acompletion")
        with contextlib.suppress(litellm.RateLimitError, ValueError):
            await router.acompletion(**data)
    assert set(spy.called) == {"limited-0"}


ENFORCED = {"optional_pre_call_checks": ["enforce_model_rate_limits"]}


@pytest.mark.usefixtures("one_minute")
@pytest.mark.parametrize("retries", [0, 2])
async def test_where_litellm_enforces_rpm_the_next_best_answers_and_no_client_sees_a_429(
    spy: Spy, retries: int
) -> None:
    settings = {**ENFORCED, "num_retries": retries}
    found = await outcomes("route", spy, {"limited": priced(LIMITED["limited"])}, 4 * RPM, **settings)
    assert [one.error for one in found] == [""] * len(found)
    assert Counter(one.called[-1] for one in found) == {"limited-0": RPM, "limited-1": RPM, "limited-2": 2 * RPM}


@pytest.mark.parametrize("retries", [0, 2])
async def test_who_has_as_many_requests_as_it_may_have_at_once_gets_no_more(spy: Spy, retries: int) -> None:
    limits: list[dict[str, object]] = [{"max_parallel_requests": count} for count in (1, 2, 100)]
    entries = priced([{**entry, "mock_delay": 0.5} for entry in limits])
    router, made = route(spy, {"limited": entries}, num_retries=retries)
    asking: list[asyncio.Task[object]] = []
    for number in range(9):
        data: dict[str, object] = {
            "model": "limited",
            "messages": [{"role": "user", "content": f"{number}"}],
            "metadata": {},
        }
        await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
        asking.append(asyncio.create_task(router.acompletion(**data)))
        while len(spy.called) <= number and not asking[-1].done():  # noqa: ASYNC110
            await asyncio.sleep(0)
    await asyncio.gather(*asking)
    assert Counter(spy.called) == {"limited-0": 1, "limited-1": 2, "limited-2": 6}


async def test_who_may_have_as_many_at_once_as_a_text_says_gets_none_for_litellm_fails_over_it(spy: Spy) -> None:
    """From 1.109 on it does not start with it."""
    entries = priced([{"max_parallel_requests": "5"}, {}, {}])
    if not IS_SEEDED:
        with pytest.raises(ValueError, match="invalid litellm_params"):
            route(spy, {"limited": entries})
        return
    found = await outcomes("route", spy, {"limited": entries}, 4, num_retries=0)
    assert [(one.error, one.called) for one in found] == [("", ("limited-1",))] * 4


@pytest.mark.usefixtures("one_minute")
async def test_where_litellm_enforces_rpd_the_next_best_answers(spy: Spy) -> None:
    """It counts by the day from 1.110 on; before, nothing is full."""
    entries = priced([{"rpd": RPM}, {}, {}])
    found = await outcomes("route", spy, {"limited": entries}, 3 * RPM, **ENFORCED, num_retries=0)
    assert [one.error for one in found] == [""] * len(found)
    by_day = {"limited-0": RPM, "limited-1": 2 * RPM}
    assert Counter(one.called[-1] for one in found) == ({"limited-0": 3 * RPM} if IS_SEEDED else by_day)


async def test_where_all_have_as_many_requests_as_they_may_have_at_once_the_next_one_waits(spy: Spy) -> None:
    limits: list[dict[str, object]] = [{"max_parallel_requests": 1}, {"max_parallel_requests": 1}]
    entries = [{**entry, "input_cost_per_token": 1e-7, "mock_delay": 0.5} for entry in limits]
    router, made = route(spy, {"limited": entries}, num_retries=2)
    asking: list[asyncio.Task[object]] = []
    for number in range(4):
        messages = [{"role": "user", "content": f"{number}"}]
        data: dict[str, object] = {"model": "limited", "messages": messages, "metadata": {}}
        await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
        asking.append(asyncio.create_task(router.acompletion(**data)))
    await asyncio.gather(*asking)
    assert Counter(spy.called) == {"limited-0": 2, "limited-1": 2}
