"""The policy in force in the running proxies: the YAML's, or the one that was published over it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from slo_router.contract.settings.config import Settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.commands.terminal import redis_of, span
from slo_router.operator.replay.policy_difference import differences
from slo_router.worker.rollout import Policy, history, switched_off

Policies = Mapping[str, Mapping[str, GroupSettings]]  # groups by version: the YAML's and the published ones


class Running(NamedTuple):
    """`settings` are the YAML's with the groups of the policy in force. `off` are groups that LiteLLM alone routes.

    `notes` list how the policy in force differs from the YAML. If the newest published policy is not in force, they say
    so.
    """

    settings: Settings
    policies: Policies
    off: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def running(own: Settings) -> Running:
    """The policy in force now, for the YAML `own`. Raises SettingsError where Redis fails."""
    plugin = own.plugin
    with redis_of(own) as client:
        if client is None:
            return Running(own, {plugin.policy: plugin.groups})
        published, off = history(client, plugin.key_prefix), switched_off(client, plugin.key_prefix)
    policies = {plugin.policy: plugin.groups} | {one.version: one.groups for one in published}
    newest = published[0] if published else None
    if newest is None or newest.base != plugin.policy or newest.groups.keys() != plugin.groups.keys():
        return Running(own, policies, off & plugin.groups.keys(), _disregarded(newest, plugin.policy))
    settings = replace(own, plugin=plugin.model_copy(update={"groups": dict(newest.groups)}))
    notes = () if newest.version == plugin.policy else (_instead(newest), *differences(plugin.groups, newest.groups))
    return Running(settings, policies, off & plugin.groups.keys(), notes)


def _instead(newest: Policy) -> str:
    age = span(max(time.time() - newest.at_s, 0.0))
    return f"policy {newest.version} was published {age} ago and is in force instead of the YAML's {newest.base}"


def _disregarded(newest: Policy | None, own: str) -> tuple[str, ...]:
    if newest is None or newest.base == own:
        return ()
    return (f"policy {newest.version} was published over {newest.base}, not over this YAML ({own}), which is in force",)
