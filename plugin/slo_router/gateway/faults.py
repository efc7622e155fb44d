"""Whose fault a failure is: of an attempt, by its error, and of a deployment, by LiteLLM's own health check."""

from __future__ import annotations

from collections.abc import Mapping

from litellm.proxy import health_check

from slo_router.gateway.router import Deployment
from slo_router.live import ratelimit
from slo_router.live.probes import Health
from slo_router.worker.attempt import Fault

BAD_REQUEST, SERVER_ERROR = 400, 500
BUSY, FULL = (408, 429), 429  # a timeout and a rate limit: no fault of the request
ACCOUNT = (401, 402)  # a key, its credit: no request can bring them about, while 403 and 404 may be about a file
TOO_LARGE = (413,)
REQUESTS_OWN = frozenset({"ContextWindowExceededError", "ContentPolicyViolationError", "UnsupportedParamsError"})


def is_timeout(error: object) -> bool:
    """Whether an attempt was ended because it took too long."""
    return getattr(error, "status_code", None) == BUSY[0]


def fault_of(error: object, *, at_proxy: bool = False) -> Fault:
    """Whose fault a failed attempt is, by HTTP status and LiteLLM's class; `at_proxy`: it may be the proxy's own error.

    Never by the provider's words: they may quote the request's.
    """
    if at_proxy and not getattr(error, "llm_provider", None):  # a guardrail's, a client's that left
        return "request"
    status = getattr(error, "status_code", None)
    if status == FULL:
        return "request" if getattr(error, "llm_provider", None) == "" else "quota"  # the former: LiteLLM's own limits
    if not isinstance(status, int) or status in BUSY or not BAD_REQUEST <= status < SERVER_ERROR:
        return "deployment"
    if status in TOO_LARGE or type(error).__name__ in REQUESTS_OWN:
        return "request"
    return "account" if status in ACCOUNT else "unclear"


def wait_s(error: object, now_s: float) -> float | None:
    """How long the deployment says that it stays full, `None` where it does not say; nothing else it says counts."""
    headers = getattr(error, "litellm_response_headers", None)
    if not headers:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return ratelimit.wait_s(headers if isinstance(headers, Mapping) else {}, str(error), now_s)


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
    return "fails" if fault_of(error) in ("deployment", "quota") else "refuses"
