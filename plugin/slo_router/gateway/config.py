"""The configuration that the proxy was started with: what LiteLLM holds, and what only the file still says.

LiteLLM resolves `os.environ/NAME` before it loads callbacks: a variable that is not set is `None` by then, and a number
is text. So the plugin reads the file again. Where LiteLLM has a value, from a secret manager or its database, that
value counts. Where LiteLLM has none, the file says which variable was meant.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import litellm
import yaml
from litellm.proxy import proxy_server

from slo_router.contract.model import EMPTY
from slo_router.contract.settings.config import Settings, parse_settings, with_litellm_redis, with_remarks
from slo_router.contract.settings.environment import ENV_PREFIX, FromBlock, FromEnvironment
from slo_router.contract.settings.litellm_redis import url_of
from slo_router.contract.settings.pricing.markups import NAMES, Markups
from slo_router.contract.settings.yaml_document import Document, read_raw
from slo_router.errors import SettingsError


def proxy_settings() -> Settings:
    """What the plugin is to do, validated. Raises SettingsError with a line for each fault."""
    document = started_with()
    try:
        settings = parse_settings(document.fields, price_map())
    except SettingsError as error:
        raise SettingsError("\n".join((str(error), *document.remarks))) from None
    return with_remarks(with_litellm_redis(settings, document.fields, os.environ), document.remarks)


def started_with() -> Document:
    """The whole configuration, includes merged, and what is odd about the file."""
    state = {**proxy_document(), "callback_settings": {"slo_router": plugin_section()}}
    path = proxy_server.user_config_file_path
    if not path or not Path(path).is_file():  # LiteLLM read it from a bucket
        return Document(state)
    try:
        raw = read_raw(Path(path))
    except SettingsError as error:  # LiteLLM could read the file, so the proxy starts
        return Document(state, (f"the file could not be looked at again: {error}",))
    fields = {name: _told(raw.fields.get(name), value) for name, value in state.items()}
    return Document(fields, raw.remarks)


def _told(written: object, held: object) -> object:
    """The value that counts, of what the file says (`written`) and what LiteLLM has (`held`)."""
    if isinstance(held, Mapping) and isinstance(written, Mapping):
        return {name: _told(written.get(name), value) for name, value in held.items()}
    if isinstance(held, list) and isinstance(written, list) and len(held) == len(written):
        return [_told(one, other) for one, other in zip(written, held, strict=True)]
    if not isinstance(written, str) or not written.startswith(ENV_PREFIX):
        return held
    if isinstance(held, str) and held != written:
        return FromEnvironment(held)
    name = written.removeprefix(ENV_PREFIX)
    return FromBlock(os.environ[name]) if name in os.environ else written


def proxy_document() -> Mapping[str, object]:
    """The YAML that the proxy was started with, before LiteLLM fills anything in; empty where there is none."""
    document = proxy_server.proxy_config.get_config_state()
    path = proxy_server.user_config_file_path
    if not document and path:  # `litellm --validate_config` does not put what it read into that state
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return cast("Mapping[str, object]", document or {})


def plugin_section() -> object:
    """`callback_settings.slo_router`; LiteLLM sets it before it loads callbacks."""
    return (litellm.callback_settings or {}).get("slo_router")


class _Listed:
    """LiteLLM's price map as it came. Later LiteLLM adds to it what a deployment says of its model, by model name."""

    source: object = None
    models: Mapping[str, Mapping[str, object]] = MappingProxyType({})

    def read(self, source: Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
        """What the first map lists, and of each later map the new names with a price.

        LiteLLM may have made additions to a later map by now. They have no price, and known names keep their entry.
        """
        if source is not self.source:
            known = self.models
            self.source = source
            self.models = {
                name: known.get(name) or dict(entry)
                for name, entry in source.items()
                if not known or name in known or _has_price(entry)
            }
        return self.models


def _has_price(entry: Mapping[str, object]) -> bool:
    """Whether an entry has a price. What LiteLLM adds has none."""
    return any("cost" in name and value is not None for name, value in entry.items())


_listed = _Listed()


def price_map() -> Mapping[str, Mapping[str, object]]:
    """LiteLLM's price map, without what LiteLLM adds of deployments.

    If LiteLLM could fetch the map, it is newer than the packaged one. The first call must come before LiteLLM makes
    its router.
    """
    return _listed.read(cast("Mapping[str, Mapping[str, object]]", litellm.model_cost))


def markups() -> Markups:
    """LiteLLM's discounts and margins, those set at run time among them."""
    return Markups(*(getattr(litellm, name, None) or EMPTY for name in NAMES))


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
