"""Keeps LiteLLM from cooling a deployment down for an attempt that this plugin ended: the plugin's circuit counts it.

With `allowed_fails: 0` one late answer would take a deployment out of LiteLLM's pool, for as long as `cooldown_time`
says. LiteLLM cools no deployment down for a timeout that its caller set. So `forgive` marks this timeout as the
caller's, in what LiteLLM logs of the attempt. The next attempt has its own log.
"""

from __future__ import annotations

from collections.abc import Mapping

from slo_router.worker.trace import Trace

AT_ONCE = {"client_side_timeout": True, "timeout": 0.0}  # 0: at whatever time the attempt ended, the timeout was over


def forgive(trace: Trace, request: Mapping[str, object]) -> None:
    """The attempt under way failed: if this plugin gave it up, marks its timeout as the caller's."""
    logged = getattr(request.get("litellm_logging_obj"), "model_call_details", None)
    if trace.attempt is None or not trace.attempt.is_given_up or not isinstance(logged, dict):
        return
    parameters = logged.get("litellm_params")
    if isinstance(parameters, Mapping):
        logged["litellm_params"] = {**parameters, **AT_ONCE}
