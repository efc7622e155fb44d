"""Asks LiteLLM's router which of a group's deployments its own checks would leave, and which of them have room.

To answer, the router walks through its own steps a second time. During this walk our filter keeps every deployment
(`healthy_pool`), or only the one that is asked about (`keeps`). A pre-call check takes half a millisecond for each
deployment. So where these are on, the plugin decides first, and asks about the chosen deployment alone.
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
_asking: ContextVar[str | None] = ContextVar("slo_router_asks_about", default=None)  # one deployment, or all of them


def answer_to_us(deployments: list[Deployment]) -> list[Deployment] | None:
    """What the filter leaves while the plugin itself asks LiteLLM; `None` where the plugin does not ask."""
    about = _asking.get()
    if about is None or about == _EVERYBODY:
        return None if about is None else deployments
    return [one for one in deployments if deployment_id(one) == about]


async def healthy_pool(
    router: Router, model: str, request: Mapping[str, object], messages: object
) -> Sequence[Deployment]:
    """The healthy deployments after every filter of LiteLLM's but this plugin's. Raises what LiteLLM raises.

    LiteLLM gets a copy of the request without its logging object: LiteLLM takes keys out of the request, and would log
    a refusal, which it will log in the pick itself.
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
    return [pool] if isinstance(pool, Mapping) else pool  # a mapping is the deployment that the request names


async def keeps(
    router: Router, model: str, request: Mapping[str, object], messages: object, name: str, *, fits: bool
) -> bool:
    """Whether LiteLLM's checks leave this deployment when they look at it alone. A refusal's reason is not returned.

    If the prompt certainly `fits`, its tokens are not counted: for a long prompt that takes milliseconds.
    """
    token = _asking.set(name)
    arguments = _arguments(request, messages)
    if fits:
        arguments |= {"messages": None, "input": None}
    try:
        return bool(await _healthy(router, model, arguments))
    except Exception:  # noqa: BLE001  # the walk with every deployment raises it, too, or leaves another deployment
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
    """Whether LiteLLM would send one more request to this deployment now, as far as this worker counts them.

    LiteLLM refuses by three counts: requests at once; the counts per minute or day that its rate limit check enforces;
    and the counts per minute of some routing strategies. The strategy is the group's (`may_refuse` if it looks at
    them), or the one that a key or team brings along.
    """
    if not _has_slot(router, deployment) or _is_over_its_rate(deployment):
        return False
    may_refuse = may_refuse or request.get("routing_strategy") in _REFUSING
    asks = may_refuse and _has_limit(deployment, _BY_THE_MINUTE)
    return not asks or await _would_pick(router, model, request, messages, deployment_id(deployment))


def _has_slot(router: Router, deployment: Deployment) -> bool:
    params = deployment["litellm_params"]
    if isinstance(params, Mapping) and isinstance(params.get("max_parallel_requests"), str):
        return False  # LiteLLM fails on text, and a variable's value is text
    store = router.health().store if hasattr(router, "health") else router.cache
    slots = store.in_memory_cache.get_cache(f"{deployment_id(deployment)}_max_parallel_requests_client")
    if isinstance(slots, asyncio.Semaphore):  # up to 1.100: the request would wait
        return not slots.locked()
    return slots is None or slots.in_flight < slots.max_parallel_requests  # `None` before the first request


def _is_over_its_rate(deployment: Deployment) -> bool:
    check = next((one for one in litellm.callbacks if isinstance(one, ModelRateLimitingCheck)), None)
    if check is None:
        return False
    clock = getattr(check, "clock", litellm.utils.get_utc_datetime)  # its own from 1.109 on
    counts = check.dual_cache.in_memory_cache
    now, name, model = clock(), deployment_id(deployment), _limit_of(deployment, "model")
    times = dict.fromkeys(_BY_THE_MINUTE, now.strftime("%H-%M"))
    if _limit_of(deployment, "daily_reset_time") is None:  # with one its day begins at another hour
        times |= dict.fromkeys(_BY_THE_DAY, now.strftime("%Y-%m-%d"))
    limits = {one: _limit_of(deployment, one) for one in times}
    return any(
        isinstance(limit, int | float) and (counts.get_cache(f"{name}:{model}:{one}:{times[one]}") or 0) >= limit
        for one, limit in limits.items()
    )


async def _would_pick(router: Router, model: str, request: Mapping[str, object], messages: object, name: str) -> bool:
    """Whether LiteLLM's own strategy would take this deployment if there were no other."""
    pick = router.select if hasattr(router, "select") else router.async_get_available_deployment
    token = _asking.set(name)
    try:
        await pick(model, **_arguments(request, messages))
    except (litellm.RateLimitError, ValueError):  # ValueError is LiteLLM's "no deployments available"
        return False
    finally:
        _asking.reset(token)
    return True


def _arguments(request: Mapping[str, object], messages: object) -> dict[str, object]:
    copy = {name: value for name, value in request.items() if name != "litellm_logging_obj"}
    return {"request_kwargs": copy, "messages": messages, "input": None if messages else request.get("input")}


def limited_groups(router: Router, deployments: Sequence[Deployment]) -> frozenset[str]:
    """The groups with a deployment that has a limit: LiteLLM refuses it while it is full."""
    are_all = setting(router, "default_max_parallel_requests") is not None
    limits = (*_BY_THE_MINUTE, *_BY_THE_DAY, "max_parallel_requests")
    return frozenset(name for one in deployments if are_all or _has_limit(one, limits) for name in groups_of(one))


def refusing_groups(router: Router, groups: Iterable[str]) -> frozenset[str]:
    """Those of `groups` whose routing strategy refuses deployments that are over their limits.

    A group's strategy is that of its routing group, else the router's.
    """
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
