"""Keeps LiteLLM from cooling a deployment down for an attempt that this plugin ended: its own circuit hears of that.

With `allowed_fails: 0` one late answer would take a deployment out of LiteLLM's pool, for as long as `cooldown_time`
says. LiteLLM holds no timeout against a deployment that the caller set, and this one is none of LiteLLM's either. It
reads that of what it logs of the attempt; the next attempt has its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from slo_router.worker.trace import Trace

AT_ONCE = {"client_side_timeout": True, "timeout": 0.0}  # whenever it ended, the timeout was over


def forgive(trace: Trace, request: Mapping[str, object]) -> None:
    """The attempt under way failed."""
    logged = getattr(request.get("litellm_logging_obj"), "model_call_details", None)
    if trace.attempt is None or not trace.attempt.is_given_up or not isinstance(logged, dict):
        return
    parameters = logged.get("litellm_params")
    if isinstance(parameters, Mapping):
        logged["litellm_params"] = {**parameters, **AT_ONCE}
