"""Which policy the running proxies go by: the YAML's, or the one that was published over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from slo_router.commands.terminal import redis_of
from slo_router.config import GroupSettings, Settings
from slo_router.rollout import history, switched_off

Policies = Mapping[str, Mapping[str, GroupSettings]]  # groups by version: the YAML's and the published ones


class Running(NamedTuple):
    """`settings` are the YAML's with the groups of the policy in force; `off` are groups that LiteLLM routes."""

    settings: Settings
    policies: Policies
    off: frozenset[str]


def running(own: Settings) -> Running:
    """What counts now. Raises SettingsError where Redis fails."""
    plugin = own.plugin
    with redis_of(own) as client:
        if client is None:
            return Running(own, {plugin.policy: plugin.groups}, frozenset())
        published, off = history(client, plugin.key_prefix), switched_off(client, plugin.key_prefix)
    policies = {plugin.policy: plugin.groups} | {one.version: one.groups for one in published}
    settings = own
    if published and published[0].base == plugin.policy and published[0].groups.keys() == plugin.groups.keys():
        settings = replace(own, plugin=plugin.model_copy(update={"groups": dict(published[0].groups)}))
    return Running(settings, policies, off & plugin.groups.keys())
