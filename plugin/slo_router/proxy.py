"""The plugin's entry point in the proxy: `callbacks: ["slo_router.proxy.callback"]`."""

from __future__ import annotations

import logging

from prometheus_client import REGISTRY

from slo_router.gateway.config import proxy_settings
from slo_router.gateway.hooks import Plugin

log = logging.getLogger("slo_router")


def _create() -> Plugin:
    if not log.handlers and not logging.getLogger().handlers:  # else the start-up line would be lost
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
    log.setLevel(min(log.level or logging.INFO, logging.INFO))
    settings = proxy_settings()
    for note in settings.notes:
        log.log(logging.ERROR if note in settings.broken else logging.WARNING, "%s", note)
    return Plugin(settings, REGISTRY)


def __getattr__(name: str) -> Plugin:
    """Makes `callback` when LiteLLM asks for it, not on import: by then the YAML is read."""
    if name != "callback":
        raise AttributeError(name)
    plugin = globals()["callback"] = _create()
    return plugin
