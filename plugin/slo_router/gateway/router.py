"""LiteLLM's router: the one that the proxy has now, its deployments and its settings."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import cast

from litellm.proxy import proxy_server
from litellm.router import Router

Deployment = Mapping[str, object]


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
    """The id that LiteLLM gives a deployment without one. `deployments.generated_id` must return the same."""
    if importlib.util.find_spec("litellm.router_api") is None:  # up to 1.108
        return str(Router.generate_model_id(group, dict(params)))
    return str(importlib.import_module("litellm.router_api").deployment_id(group, params))


def groups_of(deployment: Deployment) -> tuple[str, ...]:
    """The groups that a deployment is in. A team's deployment is also in the group of its public name."""
    info = deployment.get("model_info")
    public = info.get("team_public_model_name") if isinstance(info, Mapping) else None
    return (str(deployment.get("model_name")), *([str(public)] if public else []))


def resolve_alias(router: Router, model: str) -> str:
    """The group behind a `model_group_alias`, else the name itself."""
    aliases = router.registry().aliases() if hasattr(router, "registry") else router.model_group_alias
    target = (aliases or {}).get(model, model)
    return str(target.get("model", model)) if isinstance(target, Mapping) else target


def setting(router: Router, name: str) -> object:
    """One of the router's settings, `None` where it has no such setting."""
    return settings(router, name)[0]


def settings(router: Router, *names: str) -> list[object]:
    """Several of the router's settings, in the order of `names`."""
    if not hasattr(router, "settings"):  # up to 1.108
        return [getattr(router, name, None) for name in names]
    now = router.settings()  # some are attributes, others are only in its dictionary
    others = {} if all(hasattr(now, name) for name in names) else now.as_dict()
    return [getattr(now, name, others.get(name)) for name in names]
