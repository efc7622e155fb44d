"""All that depends on LiteLLM: which names are used of it, and how its versions differ.

Our router strategy is LiteLLM's callback filter (`async_filter_deployments`). LiteLLM asks it while it narrows a
group's deployments to those that may serve a request; it answers with the one it decided for, or with the list as it
came, and then LiteLLM's own strategy picks. So what LiteLLM would do alone it does by itself, in every version.

The filter stands before LiteLLM's checks of context window, tags and order. Where one of those may still narrow the
list, the decision needs the list as it will be then: the plugin asks the router for its healthy pool, a second walk
through the same steps, during which its own filter keeps everything (`healthy_pool`). Pre-call checks look at each
deployment by itself, half a millisecond each: of them the plugin decides first, and asks about the one alone (`keeps`).

`SEAMS` is the whole table of names. Each is asked of LiteLLM itself, never of a version number. Nothing is patched.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, cast

import litellm
import yaml
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import health_check, proxy_server
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.router import Router
from litellm.router_utils.pre_call_checks.model_rate_limit_check import ModelRateLimitingCheck

from slo_router.contract.settings.litellm_redis import url_of
from slo_router.live.probes import Health
from slo_router.request.slo import SloInputs, ceiling_in
from slo_router.worker.attempt import Fault

Deployment = Mapping[str, object]
BAD_REQUEST, SERVER_ERROR = 400, 500
BUSY = (408, 429)  # a timeout and a rate limit: no fault of the request
ACCOUNT = (401, 402)  # a key, its credit: no request can bring them about, while 403 and 404 may be about a file
TOO_LARGE = (413,)
REQUESTS_OWN = frozenset({"ContextWindowExceededError", "ContentPolicyViolationError", "UnsupportedParamsError"})
LONGEST_LOOKUP_S = 60.0  # from a request's arrival to its first hook: more is a clock that was set
NEWEST_TESTED = "1.110"  # `make test-newest`


class Seam(NamedTuple):
    """Something that is taken from LiteLLM, and the names that offer it: the newest first, one is enough."""

    what: str
    owner: object
    names: tuple[str, ...]


#     what for                            where                         from 1.109 on   up to 1.108
SEAMS = (
    Seam("the healthy pool of a group", Router, ("select", "async_get_healthy_deployments")),
    Seam("the deployments", Router, ("registry", "model_list")),
    Seam("the aliases of groups", Router, ("registry", "model_group_alias")),
    Seam("the router's settings", Router, ("settings", "enable_pre_call_checks")),
    Seam("who has room", Router, ("health", "cache")),
    Seam("a request's arrival", CustomLogger, ("async_pre_call_hook",)),
    Seam("the pick", CustomLogger, ("async_filter_deployments",)),
    Seam("an attempt that is sent", CustomLogger, ("async_pre_call_deployment_hook",)),
    Seam("an attempt that failed", CustomLogger, ("async_post_call_failure_deployment_hook",)),
    Seam("the pieces of a stream", CustomLogger, ("async_post_call_streaming_iterator_hook",)),
    Seam("the headers of an answer", CustomLogger, ("async_post_call_response_headers_hook",)),
    Seam("a request's success", CustomLogger, ("async_log_success_event",)),
    Seam("a stream that broke", CustomLogger, ("async_log_failure_event",)),
    Seam("a request's failure", CustomLogger, ("async_post_call_failure_hook",)),
    Seam("what other sinks log", CustomLogger, ("async_logging_hook",)),
    Seam("the proxy's router", proxy_server, ("llm_router",)),
    Seam("the proxy's YAML", proxy_server, ("proxy_config", "user_config_file_path")),
    Seam("the proxy's own Redis", proxy_server, ("redis_usage_cache",)),
    Seam("who holds a response", ResponsesAPIRequestUtils, ("get_model_id_from_response_id",)),
    Seam("a health check", health_check, ("perform_health_check",)),
    Seam("the callbacks", litellm, ("callbacks",)),
    Seam("this plugin's YAML", litellm, ("callback_settings",)),
    Seam("the price map", litellm, ("model_cost",)),
)
_NARROWING_KEYS = ("_target_order", "_excluded_deployment_ids", "_retry_skipped_deployment_ids", "enable_tag_filtering")
_PLUGIN_KEY = "_routing_plugin_candidate_models"  # in the metadata, where LiteLLM's routing plugins chose
_TEXT_PARTS = ("text", "input_text", "output_text", "tool_use", "thinking")
_REFUSING = ("usage-based-routing", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing")
_BY_THE_MINUTE = ("rpm", "tpm")
_EVERYBODY = ""
_asking: ContextVar[str | None] = ContextVar("slo_router_asks_about", default=None)  # one deployment, or everybody


def lacking(router: Router) -> list[str]:
    """What this LiteLLM offers under none of the known names; the plugin can't work where something is lacking."""
    return [
        f"{seam.what} ({' or '.join(seam.names)})"
        for seam in SEAMS
        if not any(hasattr(router if seam.owner is Router else seam.owner, name) for name in seam.names)
    ]


def shortcomings() -> list[str]:
    """What keeps the plugin from routing on the installed LiteLLM; for `slo-router check`."""
    missing = "; ".join(lacking(Router(model_list=[])))
    return [f"LiteLLM {version()} lacks {missing}: LiteLLM alone will route"] if missing else []


def untried() -> list[str]:
    """What was never tried on the installed LiteLLM; likewise."""
    is_newer = is_newer_than_tested()
    return [f"LiteLLM {version()} is newer than {NEWEST_TESTED}.x, the newest tested"] if is_newer else []


def unasked() -> list[str]:
    """LiteLLM's routing strategies that pick by a path without filters, so that this plugin is not asked."""
    return [] if hasattr(Router(model_list=[]), "select") else ["usage-based-routing"]


def is_newer_than_tested() -> bool:
    """Whether the installed LiteLLM is above the newest that the tests ran on."""
    return _minor(version()) > _minor(NEWEST_TESTED)


def _minor(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


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


async def keeps(router: Router, model: str, request: Mapping[str, object], messages: object, name: str) -> bool:
    """Whether LiteLLM's checks leave this deployment where it is looked at alone. Why they do not is not told."""
    token = _asking.set(name)
    try:
        return bool(await _healthy(router, model, _arguments(request, messages)))
    except Exception:  # noqa: BLE001  # whatever it is, the walk with every deployment raises it too, or has another
        return False
    finally:
        _asking.reset(token)


async def has_room(
    router: Router, model: str, request: Mapping[str, object], messages: object, deployment: Deployment
) -> bool:
    """Whether LiteLLM would take one more request to this deployment now, as far as this worker counts them.

    It refuses by three counts: how many are there at once; a minute's, where it enforces them; and a minute's of the
    strategies that look at them.
    """
    if not _has_slot(router, deployment_id(deployment)) or _is_over_its_rate(deployment):
        return False
    asks = _setting(router, "routing_strategy") in _REFUSING and _has_limit(deployment, _BY_THE_MINUTE)
    return not asks or await _would_pick(router, model, request, messages, deployment_id(deployment))


def _has_slot(router: Router, name: str) -> bool:
    store = router.health().store if hasattr(router, "health") else router.cache
    slots = store.in_memory_cache.get_cache(f"{name}_max_parallel_requests_client")
    if isinstance(slots, asyncio.Semaphore):  # up to 1.100: the request would wait
        return not slots.locked()
    return slots is None or slots.in_flight < slots.max_parallel_requests  # made with the first request


def _is_over_its_rate(deployment: Deployment) -> bool:
    check = next((one for one in litellm.callbacks if isinstance(one, ModelRateLimitingCheck)), None)
    if check is None:
        return False
    clock = getattr(check, "clock", litellm.utils.get_utc_datetime)  # its own from 1.109 on
    minute, counts = clock().strftime("%H-%M"), check.dual_cache.in_memory_cache
    name, model = deployment_id(deployment), _limit_of(deployment, "model")
    limits = {one: _limit_of(deployment, one) for one in _BY_THE_MINUTE}
    return any(
        isinstance(limit, int | float) and (counts.get_cache(f"{name}:{model}:{one}:{minute}") or 0) >= limit
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
    are_all = _setting(router, "default_max_parallel_requests") is not None
    limits = (*_BY_THE_MINUTE, "max_parallel_requests")
    return frozenset(name for one in deployments if are_all or _has_limit(one, limits) for name in _names(one))


def _has_limit(deployment: Deployment, limits: Sequence[str]) -> bool:
    return any(_limit_of(deployment, limit) is not None for limit in limits)


def _names(deployment: Deployment) -> tuple[str, ...]:
    """The groups that a deployment is in: a team's goes by its public name, too."""
    info = deployment.get("model_info")
    public = info.get("team_public_model_name") if isinstance(info, Mapping) else None
    return (str(deployment.get("model_name")), *([str(public)] if public else []))


def _limit_of(deployment: Deployment, name: str) -> object:
    places = (deployment, deployment.get("litellm_params"), deployment.get("model_info"))
    return next((place[name] for place in places if isinstance(place, Mapping) and place.get(name) is not None), None)


def checks_each(router: Router) -> bool:
    """Whether LiteLLM looks at each deployment by itself, its window, rpm, region and parameters, after the filters."""
    return bool(_setting(router, "enable_pre_call_checks"))


def narrows_all(router: Router, callback: object) -> bool:
    """Whether LiteLLM may narrow every group's list further once `callback` has filtered it."""
    if _setting(router, "enable_tag_filtering"):
        return True
    callbacks = list(litellm.callbacks)
    place = next((at for at, one in enumerate(callbacks) if one is callback), -1)
    keeps_all = CustomLogger.async_filter_deployments
    return any(
        isinstance(one, CustomLogger) and type(one).async_filter_deployments is not keeps_all
        for one in callbacks[place + 1 :]
    )


def is_listed(callback: object) -> bool:
    """Whether LiteLLM asks this callback."""
    return any(one is callback for one in litellm.callbacks)


def narrowed_groups(deployments: Sequence[Deployment]) -> frozenset[str]:
    """The groups that LiteLLM narrows further by what their deployments say: order, tags, endpoints."""
    found: set[str] = set()
    for deployment in deployments:
        params, info = deployment.get("litellm_params"), deployment.get("model_info")
        order = params.get("order") if isinstance(params, Mapping) else None
        flags = ("enable_tag_filtering", "enforce_supported_endpoints")
        if order is not None or (isinstance(info, Mapping) and any(info.get(flag) for flag in flags)):
            found.update(_names(deployment))
    return frozenset(found)


def narrows(request: Mapping[str, object], messages: object) -> bool:
    """Whether LiteLLM may narrow the list further by what this request says: one that is not plain text, or retried."""
    if any(request.get(key) is not None for key in _NARROWING_KEYS):
        return True
    if not _is_text(messages or request.get("input")) or _searches_the_web(request):
        return True
    metadata = request.get("litellm_metadata") or request.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get(_PLUGIN_KEY) is not None


def place_of(request: Mapping[str, object]) -> tuple[object, ...]:
    """Where LiteLLM is in its retries and fallbacks of a request: the same as long as nothing failed."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    retries = metadata.get("attempted_retries") if isinstance(metadata, Mapping) else None
    return (retries or 0, request.get("fallback_depth") or 0, *(request.get(key) for key in _NARROWING_KEYS))


def _searches_the_web(request: Mapping[str, object]) -> bool:
    tools = request.get("tools")
    known = ("function", "custom")  # a tool that runs at the client
    return request.get("web_search_options") is not None or (
        isinstance(tools, list) and not all(_type_of(tool) in known or _is_anthropic(tool) for tool in tools)
    )


def _is_anthropic(tool: object) -> bool:
    return isinstance(tool, Mapping) and "input_schema" in tool


def _type_of(part: object) -> object:
    return part.get("type") if isinstance(part, Mapping) else None


def _is_text(body: object) -> bool:
    """Whether a prompt, or every message, is text alone; what a tool returned may be anything."""
    if isinstance(body, str):
        return True
    return isinstance(body, list) and all(isinstance(one, dict) and _is_text_content(one) for one in body)


def _is_text_content(message: Mapping[str, object]) -> bool:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(_type_of(part) in _TEXT_PARTS for part in content)


def _setting(router: Router, name: str) -> object:
    return getattr(router.settings() if hasattr(router, "settings") else router, name, None)


def version() -> str:
    """The installed LiteLLM's version."""
    return importlib.metadata.version("litellm")


def current_router() -> Router | None:
    """The proxy's router; `None` until the configuration is loaded. It is a new object after a reload."""
    return proxy_server.llm_router


def model_list(router: Router) -> Sequence[Deployment]:
    """The router's deployments, those added at run time included."""
    entries = router.registry().all() if hasattr(router, "registry") else router.model_list
    return cast("Sequence[Deployment]", entries or ())


def deployment_id(deployment: Deployment) -> str:
    """A deployment's `model_info.id`."""
    info = deployment["model_info"]
    return str(info["id"]) if isinstance(info, Mapping) else ""


def generated_id(group: str, params: Mapping[str, object]) -> str:
    """The id that LiteLLM gives a deployment without one; `deployments.generated_id` must be the same."""
    if importlib.util.find_spec("litellm.router_api") is None:  # up to 1.108
        return str(Router.generate_model_id(group, dict(params)))
    return str(importlib.import_module("litellm.router_api").deployment_id(group, params))


def resolve_alias(router: Router, model: str) -> str:
    """The group behind a `model_group_alias`, else the name itself."""
    aliases = router.registry().aliases() if hasattr(router, "registry") else router.model_group_alias
    target = (aliases or {}).get(model, model)
    return str(target.get("model", model)) if isinstance(target, Mapping) else target


def proxy_document() -> Mapping[str, object]:
    """The YAML that the proxy was started with, before LiteLLM fills anything in; empty where there is none."""
    document = proxy_server.proxy_config.get_config_state()
    path = proxy_server.user_config_file_path
    if not document and path:  # `litellm --validate_config` keeps what it read to itself
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return cast("Mapping[str, object]", document or {})


def plugin_section() -> object:
    """`callback_settings.slo_router`; LiteLLM sets it before it loads callbacks."""
    return (litellm.callback_settings or {}).get("slo_router")


def price_map() -> Mapping[str, Mapping[str, object]]:
    """LiteLLM's price map, newer than the packaged one where it could be fetched."""
    return cast("Mapping[str, Mapping[str, object]]", litellm.model_cost)


def is_timeout(error: object) -> bool:
    """Whether an attempt was ended because it took too long."""
    return getattr(error, "status_code", None) == BUSY[0]


def is_impatient(request: Mapping[str, object]) -> bool:
    """Whether the client set a timeout, in the body or in LiteLLM's headers."""
    return any(request.get(name) is not None for name in ("timeout", "request_timeout", "stream_timeout"))


def is_elsewhere(request: Mapping[str, object]) -> bool:
    """Whether the client named its own key or address: what becomes of it there says nothing of the deployment."""
    return any(request.get(name) for name in ("api_key", "api_base", "base_url"))


def fault_of(error: object, *, at_proxy: bool = False) -> Fault:
    """Whose fault a failed attempt is, by HTTP status and LiteLLM's class; `at_proxy`: it may be the proxy's own error.

    Never by the provider's words: they may quote the request's.
    """
    if at_proxy and not getattr(error, "llm_provider", None):  # a guardrail's, a client's that left
        return "request"
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status in BUSY or not BAD_REQUEST <= status < SERVER_ERROR:
        return "deployment"
    if status in TOO_LARGE or type(error).__name__ in REQUESTS_OWN:
        return "request"
    return "account" if status in ACCOUNT else "unclear"


async def health(deployment: Deployment) -> Health:
    """What LiteLLM's health check, as its own `/health` would make it, finds; `unclear` where that tells nothing."""
    info, params = deployment["model_info"], deployment["litellm_params"]
    if not isinstance(info, Mapping) or not isinstance(params, Mapping) or info.get("disable_background_health_check"):
        return "unclear"
    once = {**params, "max_retries": 0, "num_retries": 0}
    copy = {**deployment, "model_info": dict(info), "litellm_params": once}  # LiteLLM writes into it
    healthy, _, *errors = await health_check.perform_health_check(model_list=[copy])
    if healthy:
        return "answers"
    error = errors[0].get(info["id"]) if errors else None
    has_status = isinstance(getattr(error, "status_code", None), int)  # else the check itself is what is wrong
    if not has_status:
        return "unclear"
    return "fails" if fault_of(error) == "deployment" else "refuses"


def sent_to(call: Mapping[str, object]) -> str | None:
    """The id of the deployment that a call goes to, `None` where no deployment of a router is called."""
    info = call.get("model_info")
    found = info.get("id") if isinstance(info, Mapping) else None
    return None if found is None else str(found)


def holder_of(request: Mapping[str, object]) -> str | None:
    """The deployment that has the response with which this request goes on; LiteLLM writes it into the id."""
    before = request.get("previous_response_id")
    if not isinstance(before, str):
        return None
    return cast("str | None", ResponsesAPIRequestUtils.get_model_id_from_response_id(before))


def key_hash(request: Mapping[str, object]) -> str:
    """The virtual key's hash, empty where there is none."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    return str(metadata.get("user_api_key_hash") or "") if isinstance(metadata, Mapping) else ""


def ceiling_of(request: Mapping[str, object]) -> float | None:
    """The cost ceiling of the request's key or team, USD per 1,000 tokens."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    key, team = metadata.get("user_api_key_metadata"), metadata.get("user_api_key_team_metadata")
    return ceiling_in(SloInputs(key_metadata=key, team_metadata=team))


def arrived_s(request: Mapping[str, object], now_s: float) -> float:
    """When the proxy had the request, in Unix seconds: before it looked up the key."""
    sent = request.get("proxy_server_request")
    at_s = sent.get("arrival_time") if isinstance(sent, Mapping) else None
    return float(at_s) if isinstance(at_s, int | float) and 0 <= now_s - at_s < LONGEST_LOOKUP_S else now_s


def is_from_cache(request: Mapping[str, object]) -> bool:
    """Whether LiteLLM answers from its cache."""
    details = getattr(request.get("litellm_logging_obj"), "caching_details", None)
    return isinstance(details, Mapping) and bool(details.get("cache_hit"))


def redis_url() -> str | None:
    """LiteLLM's own Redis as a URL, `None` where none is configured."""
    cache = getattr(proxy_server, "redis_usage_cache", None)
    options = getattr(cache, "redis_kwargs", None)
    if not isinstance(options, Mapping):
        return None
    try:
        return url_of(options)
    except (ValueError, KeyError):  # `litellm_redis.find_redis` names it, once
        return None
