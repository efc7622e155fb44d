"""Asks LiteLLM's router what it would leave of a group's deployments, and which of them have room.

The router's answer is a second walk through its own steps. During it our filter keeps everything (`healthy_pool`), or
the one deployment that is asked about: pre-call checks take half a millisecond for each, so of them the plugin decides
first, and asks about the chosen alone (`keeps`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

import litellm
from litellm.router import Router
from litellm.router_utils.pre_call_checks.model_rate_limit_check import ModelRateLimitingCheck

from slo_router.gateway.router import Deployment, deployment_id, groups_of, setting, settings

_REFUSING = ("usage-based-routing", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing")
_BY_THE_MINUTE = ("rpm", "tpm")
_BY_THE_DAY = ("rpd", "tpd")  # LiteLLM counts them from 1.110 on
_EVERYBODY = ""
_asking: ContextVar[str | None] = ContextVar("slo_router_asks_about", default=None)  # one deployment, or everybody


def answer_to_us(deployments: list[Deployment]) -> list[Deployment] | None:
    """What the filter leaves while the plugin itself is asking LiteLLM; `None` where it is not."""
    about = _asking.get()
    if about is None or about == _EVERYBODY:
        return None if about is None else deployments
    return [one for one in deployments if deployment_id(one) == about]


async def healthy_pool(
    router: Router, model: str, request: Mapping[str, object], messages: object
) -> Sequence[Deployment]:
    """The healthy deployments after every filter of LiteLLM's but this plugin's. Raises what LiteLLM raises.

    The request stays as it is: LiteLLM takes keys out of what it is given, and tells its logs of a refusal, which the
    pick itself will do again.
    """
    token = _asking.set(_EVERYBODY)
    try:
        return await _healthy(router, model, _arguments(request, messages))
    finally:
        _asking.reset(token)


async def _healthy(router: Router, model: str, arguments: Mapping[str, object]) -> Sequence[Deployment]:
    if hasattr(router, "select"):
        pool = await router.select(model, kind="healthy", **arguments)
    else:
        pool = await router.async_get_healthy_deployments(model=model, **arguments)
    return [pool] if isinstance(pool, Mapping) else pool  # a mapping is the one that the request names


async def keeps(
    router: Router, model: str, request: Mapping[str, object], messages: object, name: str, *, fits: bool
) -> bool:
    """Whether LiteLLM's checks leave this deployment where it is looked at alone. Why they do not is not told.

    Where the prompt `fits` for sure its tokens are not counted: of a long one that takes milliseconds.
    """
    token = _asking.set(name)
    arguments = _arguments(request, messages)
    if fits:
        arguments |= {"messages": None, "input": None}
    try:
        return bool(await _healthy(router, model, arguments))
    except Exception:  # noqa: BLE001  # whatever it is, the walk with every deployment raises it too, or has another
        return False
    finally:
        _asking.reset(token)


async def has_room(
    router: Router,
    model: str,
    request: Mapping[str, object],
    messages: object,
    deployment: Deployment,
    *,
    may_refuse: bool,
) -> bool:
    """Whether LiteLLM would take one more request to this deployment now, as far as this worker counts them.

    It refuses by three counts: how many are there at once; a minute's, where it enforces them; and a minute's of the
    strategies that look at them, where the group's does (`may_refuse`) or the one that a key or team brings along.
    """
    if not _has_slot(router, deployment) or _is_over_its_rate(deployment):
        return False
    may_refuse = may_refuse or request.get("routing_strategy") in _REFUSING
    asks = may_refuse and _has_limit(deployment, _BY_THE_MINUTE)
    return not asks or await _would_pick(router, model, request, messages, deployment_id(deployment))


def _has_slot(router: Router, deployment: Deployment) -> bool:
    params = deployment["litellm_params"]
    if isinstance(params, Mapping) and isinstance(params.get("max_parallel_requests"), str):
        return False  # LiteLLM fails over text, as a variable's value is
    store = router.health().store if hasattr(router, "health") else router.cache
    slots = store.in_memory_cache.get_cache(f"{deployment_id(deployment)}_max_parallel_requests_client")
    if isinstance(slots, asyncio.Semaphore):  # up to 1.100: the request would wait
        return not slots.locked()
    return slots is None or slots.in_flight < slots.max_parallel_requests  # made with the first request


def _is_over_its_rate(deployment: Deployment) -> bool:
    check = next((one for one in litellm.callbacks if isinstance(one, ModelRateLimitingCheck)), None)
    if check is None:
        return False
    clock = getattr(check, "clock", litellm.utils.get_utc_datetime)  # its own from 1.109 on
    counts = check.dual_cache.in_memory_cache
    now, name, model = clock(), deployment_id(deployment), _limit_of(deployment, "model")
    times = dict.fromkeys(_BY_THE_MINUTE, now.strftime("%H-%M"))
    if _limit_of(deployment, "daily_reset_time") is None:  # else its day begins at another hour
        times |= dict.fromkeys(_BY_THE_DAY, now.strftime("%Y-%m-%d"))
    limits = {one: _limit_of(deployment, one) for one in times}
    return any(
        isinstance(limit, int | float) and (counts.get_cache(f"{name}:{model}:{one}:{times[one]}") or 0) >= limit
        for one, limit in limits.items()
    )


async def _would_pick(router: Router, model: str, request: Mapping[str, object], messages: object, name: str) -> bool:
    """Whether LiteLLM's own strategy would take this deployment where it had no other."""
    pick = router.select if hasattr(router, "select") else router.async_get_available_deployment
    token = _asking.set(name)
    try:
        await pick(model, **_arguments(request, messages))
    except (litellm.RateLimitError, ValueError):  # the second is its "no deployments available"
        return False
    finally:
        _asking.reset(token)
    return True


def _arguments(request: Mapping[str, object], messages: object) -> dict[str, object]:
    copy = {name: value for name, value in request.items() if name != "litellm_logging_obj"}
    return {"request_kwargs": copy, "messages": messages, "input": None if messages else request.get("input")}


def limited_groups(router: Router, deployments: Sequence[Deployment]) -> frozenset[str]:
    """The groups with a deployment that LiteLLM refuses while it has all the requests that it may have."""
    are_all = setting(router, "default_max_parallel_requests") is not None
    limits = (*_BY_THE_MINUTE, *_BY_THE_DAY, "max_parallel_requests")
    return frozenset(name for one in deployments if are_all or _has_limit(one, limits) for name in groups_of(one))


def refusing_groups(router: Router, groups: Iterable[str]) -> frozenset[str]:
    """Those of `groups` whose strategy, a routing group's or else the router's, refuses who is over its limits."""
    strategy, parts = settings(router, "routing_strategy", "routing_groups")
    found = parts.values() if isinstance(parts, Mapping) else parts  # up to 1.108 by name
    said = [one if isinstance(one, Mapping) else dict(one) for one in cast("Iterable[Any]", found or ())]
    own = {name: one["routing_strategy"] for one in said for name in one["models"]}
    return frozenset(group for group in groups if own.get(group, strategy) in _REFUSING)


def _has_limit(deployment: Deployment, limits: Sequence[str]) -> bool:
    return any(_limit_of(deployment, limit) is not None for limit in limits)


def _limit_of(deployment: Deployment, name: str) -> object:
    places = (deployment, deployment.get("litellm_params"), deployment.get("model_info"))
    return next((place[name] for place in places if isinstance(place, Mapping) and place.get(name) is not None), None)
