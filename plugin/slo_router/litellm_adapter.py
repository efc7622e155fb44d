"""All that depends on LiteLLM's version: how to find the proxy's router, ask it for its pool, and take over the pick.

Up to 1.108 a router takes a strategy by `set_custom_routing_strategy`, which shadows two of its methods on the object,
and re-reading the settings deletes the shadows. From 1.109 on `register_plugin` does so to the router's core, under
another name, the pool comes from `select(kind="healthy")`, and what is configured from `registry()`. Which of them
is there is asked of the router itself, not of a version number. Nothing is patched: LiteLLM offers all of it to custom
strategies.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import litellm
import yaml
from litellm.proxy import health_check, proxy_server
from litellm.router import CustomRoutingStrategyBase, Router

from slo_router.probing import Health

Deployment = Mapping[str, object]
BAD_REQUEST, SERVER_ERROR = 400, 500
BUSY = (408, 429)  # a timeout and a rate limit: no fault of the request


class RouterCall:
    """One request for a deployment, as LiteLLM's router made it."""

    __slots__ = ("arguments", "model", "request")

    def __init__(self, model: str, arguments: dict[str, object]) -> None:
        self.model = model
        self.arguments = arguments
        self.request = cast("dict[str, object]", arguments["request_kwargs"])


class SloRoutingStrategy(CustomRoutingStrategyBase):  # type: ignore[misc]  # LiteLLM is not followed by mypy
    """The router's two entry points; synchronous calls keep LiteLLM's own choice."""

    def __init__(self, router: Router, pick: Callable[[SloRoutingStrategy, RouterCall], Awaitable[Deployment]]) -> None:
        self.router = router
        self.shadow: object = None  # what `install` found in place of the router's own method
        self._pick = pick

    async def async_get_available_deployment(  # noqa: D102  # LiteLLM's signature and documentation
        self,
        model: str,
        messages: list[dict[str, str]] | None = None,
        input: str | list[object] | None = None,  # noqa: A002
        specific_deployment: bool | None = False,  # noqa: FBT001, FBT002
        request_kwargs: dict[str, object] | None = None,
    ) -> Deployment:
        arguments: dict[str, object] = {
            "messages": messages,
            "input": input,
            "specific_deployment": specific_deployment,
            "request_kwargs": {} if request_kwargs is None else request_kwargs,
        }
        return await self._pick(self, RouterCall(model, arguments))

    def get_available_deployment(  # noqa: D102  # LiteLLM's signature and documentation
        self, model: str, *args: object, **kwargs: object
    ) -> Deployment:
        core = _core(self.router)
        return cast("Deployment", type(core).get_available_deployment(core, model, *args, **kwargs))

    async def own_choice(self, call: RouterCall) -> Deployment:
        """The deployment that LiteLLM alone would pick. Raises what LiteLLM raises."""
        core = _core(self.router)
        pick = getattr(type(core), _pick_name(core))
        return cast("Deployment", await pick(core, model=call.model, **call.arguments))

    async def pool(self, call: RouterCall) -> Sequence[Deployment] | Deployment:
        """The healthy deployments after every filter of LiteLLM's; one mapping where the request names a deployment."""
        if hasattr(self.router, "select"):
            pool = await self.router.select(call.model, kind="healthy", **call.arguments)
        else:
            pool = await self.router.async_get_healthy_deployments(model=call.model, **call.arguments)
        return cast("Sequence[Deployment] | Deployment", pool)


def version() -> str:
    """The installed LiteLLM's version."""
    return importlib.metadata.version("litellm")


def current_router() -> Router | None:
    """The proxy's router; `None` until the configuration is loaded. It is a new object after a reload."""
    return proxy_server.llm_router


def is_installed(router: Router, strategy: SloRoutingStrategy | None) -> bool:
    """Whether this router, still with this strategy, is the one that picks."""
    if strategy is None or strategy.router is not router:
        return False
    core = _core(router)
    return strategy.shadow is not None and core.__dict__.get(_pick_name(core)) is strategy.shadow


def install(router: Router, strategy: SloRoutingStrategy) -> None:
    """Makes `strategy` the one that picks."""
    if hasattr(router, "register_plugin"):
        router.register_plugin(strategy)
    else:
        router.set_custom_routing_strategy(strategy)
    core = _core(router)
    strategy.shadow = core.__dict__.get(_pick_name(core))


def model_list(router: Router) -> Sequence[Deployment]:
    """The router's deployments, those added at run time included."""
    entries = router.registry().all() if hasattr(router, "registry") else router.model_list
    return cast("Sequence[Deployment]", entries or ())


def deployment_id(deployment: Deployment) -> str:
    """A deployment's `model_info.id`."""
    info = deployment["model_info"]
    return str(info["id"]) if isinstance(info, Mapping) else ""


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


def is_deployments_fault(error: object) -> bool:
    """Whether a failed request speaks against the deployment: not where the request itself was wrong (HTTP 4xx)."""
    status = getattr(error, "status_code", None)
    return not isinstance(status, int) or status in BUSY or not BAD_REQUEST <= status < SERVER_ERROR


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
    return "fails" if has_status and is_deployments_fault(error) else "unclear"


def key_hash(request: Mapping[str, object]) -> str:
    """The virtual key's hash, empty where there is none."""
    metadata = request.get("litellm_metadata") or request.get("metadata")
    return str(metadata.get("user_api_key_hash") or "") if isinstance(metadata, Mapping) else ""


def first_token_of(request: Mapping[str, object]) -> Callable[[], float | None]:
    """Tells when the request's first token came (Unix seconds), `None` before that and for an answer from a cache.

    LiteLLM notes the time for its own logs. Asking it costs a stream nothing, a hook of ours a call for every chunk.
    """
    logged = request.get("litellm_logging_obj")

    def look() -> float | None:
        moment = getattr(logged, "completion_start_time", None)
        from_cache = getattr(logged, "model_call_details", {}).get("cache_hit")
        return moment.timestamp() if isinstance(moment, datetime) and not from_cache else None

    return look


def redis_url() -> str | None:
    """LiteLLM's own Redis as a URL, `None` where none is configured."""
    cache = getattr(proxy_server, "redis_usage_cache", None)
    options = getattr(cache, "redis_kwargs", None)
    if not isinstance(options, Mapping):
        return None
    if options.get("url"):
        return str(options["url"])
    if not options.get("host"):
        return None
    login = ""
    if options.get("password"):
        login = f"{quote(str(options.get('username') or ''), safe='')}:{quote(str(options['password']), safe='')}@"
    scheme = "rediss" if options.get("ssl") else "redis"
    return f"{scheme}://{login}{options['host']}:{options.get('port') or 6379}/{options.get('db') or 0}"


def _core(router: Router) -> Any:  # a Router, or from 1.109 on what stands behind it
    return router.__dict__.get("_core", router)


def _pick_name(core: object) -> str:
    newer = "_core_async_get_available_deployment"
    return newer if hasattr(type(core), newer) else "async_get_available_deployment"
