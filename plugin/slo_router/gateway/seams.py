"""Which names of LiteLLM this plugin uses, and whether the installed version has them.

`SEAMS` is the whole table of names. LiteLLM itself is searched for each name; its version number is not consulted.
Nothing is patched.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
from typing import NamedTuple

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import health_check, proxy_server
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.router import Router
from litellm.router_utils import cooldown_handlers

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
    Seam("what hashes sessions", proxy_server, ("master_key",)),
    Seam("the proxy's own Redis", proxy_server, ("redis_usage_cache",)),
    Seam("who holds a response", ResponsesAPIRequestUtils, ("get_model_id_from_response_id",)),
    Seam("a health check", health_check, ("perform_health_check",)),
    Seam("the callbacks", litellm, ("callbacks",)),
    Seam("this plugin's YAML", litellm, ("callback_settings",)),
    Seam("the price map", litellm, ("model_cost",)),
)


def can_interrupt() -> bool:
    """Whether a silent attempt can be given up: Python shows what a task waits on (`gateway.rescue.interrupt`)."""
    return hasattr(asyncio.Task, "_fut_waiter")


def tells_breaks() -> bool:
    """Whether this LiteLLM reports a stream that breaks before its first content as a failure, on every route."""
    return hasattr(Router, "select") or hasattr(litellm.router, "FallbackAwareStreamWrapper")


def forgives() -> bool:
    """Whether LiteLLM cools no deployment down for a timeout that its caller set (`gateway.rescue.cooldown`)."""
    return hasattr(cooldown_handlers, "is_caller_timeout_408")


def lacking(router: Router) -> list[str]:
    """What this LiteLLM offers under none of the known names. If anything is lacking, the plugin cannot work."""
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
    """What was never tried on the installed LiteLLM, or cannot be done here; for `slo-router check`."""
    is_newer = is_newer_than_tested()
    said = [f"LiteLLM {version()} is newer than {NEWEST_TESTED}.x, the newest tested"] if is_newer else []
    if not tells_breaks():
        taken = "a Messages stream that is cut, and any stream that simply ends, for an answer"
        said.append(f"LiteLLM {version()} takes {taken}: no other deployment is asked")
    if not forgives():
        counts = "a failure for its cooldown: with `allowed_fails: 0`, one takes it out of LiteLLM's pool"
        said.append(f"LiteLLM {version()} counts each time that `rescue` gives a deployment up as {counts}")
    return said if can_interrupt() else [*said, "this Python does not show what a task waits on: `rescue` does nothing"]


def unasked() -> list[str]:
    """LiteLLM's routing strategies that pick without filters, and so without this plugin."""
    return [] if hasattr(Router(model_list=[]), "select") else ["usage-based-routing"]


def version() -> str:
    """The installed LiteLLM's version."""
    return importlib.metadata.version("litellm")


def is_newer_than_tested() -> bool:
    """Whether the installed LiteLLM is newer than the newest that the tests ran on."""
    return _minor(version()) > _minor(NEWEST_TESTED)


def _minor(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
