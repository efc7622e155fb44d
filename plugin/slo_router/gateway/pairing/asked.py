"""Asks deployments of the proxy for a comparison, on no key's account.

A deployment is called with its own parameters, as LiteLLM's health check calls it, and not through the router. So a
call that fails cools no deployment down and is not retried, and no call counts for a key's limits. LiteLLM logs and
bills it to `ACCOUNT`, which is no key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import litellm

from slo_router.contract.model import Facts
from slo_router.gateway.followed import FollowedRouter
from slo_router.gateway.router import Deployment, current_router, deployment_id, groups_of, model_list
from slo_router.worker.pairing.asking import Call, Reply

ACCOUNT = "slo-router-shadow-evaluation"
ONCE: Mapping[str, object] = {
    "num_retries": 0,
    "max_retries": 0,
    "stream": False,
    "drop_params": True,
    "caching": False,
    "cache": {"no-cache": True, "no-store": True},
}
OF_ACCOUNT: Mapping[str, object] = {
    "tags": [ACCOUNT],
    **dict.fromkeys(("user_api_key", "user_api_key_alias", "user_api_key_team_id", "user_api_key_team_alias"), ACCOUNT),
}
ENDS = ("stop", "end_turn", "stop_sequence")


class ProxyAsking:
    """Asks the deployments of the router that the proxy has now."""

    def __init__(self, followed: FollowedRouter) -> None:
        self._followed = followed

    def facts(self, name: str) -> Facts | None:
        """The facts of a deployment, in whichever group."""
        return self._followed.facts(name)

    def deployments(self, group: str) -> Sequence[str]:
        """The ids of a model group's deployments."""
        return [deployment_id(entry) for entry in _entries() if group in groups_of(entry)]

    async def ask(self, name: str, call: Call) -> Reply:
        """Asks one deployment, once. Raises LookupError if there is no such deployment, and whatever LiteLLM raises."""
        entry = next((entry for entry in _entries() if deployment_id(entry) == name), None)
        if entry is None:
            raise LookupError(name)
        params, info = entry["litellm_params"], entry["model_info"]
        own = params if isinstance(params, Mapping) else {}
        asked: dict[str, Any] = {**own, **call.parameters, **ONCE, "messages": list(call.messages), "model_info": info}
        return _reply(await litellm.acompletion(**asked, metadata={**OF_ACCOUNT, "model_info": info}))


def _entries() -> Sequence[Deployment]:
    router = current_router()
    return () if router is None else model_list(router)


def _reply(response: Any) -> Reply:
    hidden = getattr(response, "_hidden_params", None)
    usd = hidden.get("response_cost") if isinstance(hidden, Mapping) else None
    choice = response.choices[0]
    is_whole = choice.finish_reason in ENDS and isinstance(choice.message.content, str)
    return Reply(choice.message.content or "", usd if isinstance(usd, int | float) and usd > 0 else None, is_whole)
