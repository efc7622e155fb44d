"""Changes what all workers do while they serve: a switch for each group, and the policy with its history.

    {prefix}slo_router:off        set of the groups that LiteLLM routes by itself
    {prefix}slo_router:policies   list of JSON {version, base, at_s, groups}, the newest first, `KEPT` of them

The newest policy is in force at all workers within one refresh interval, as long as `base` is the fingerprint of the
YAML that the worker was started with. So an edited YAML is in force after a restart, whatever was published before. A
policy that does not validate is refused and logged once, and the policy before stays in force.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import NamedTuple, cast

from pydantic import ValidationError

from slo_router.contract.keys import OFF_KEY, POLICIES_KEY
from slo_router.contract.redis.link import AsyncClient, BlockingClient
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.config_faults import unusable_classifiers
from slo_router.contract.settings.group import GroupSettings

KEPT = 5

log = logging.getLogger("slo_router")


class Policy(NamedTuple):
    """One policy as it was published. `at_s` is Unix seconds."""

    version: str  # its fingerprint, which each decision carries
    base: str  # the fingerprint of the YAML that it was published over
    at_s: float
    groups: Mapping[str, GroupSettings]


class Rollout:
    """What one worker last read of both keys."""

    def __init__(self, settings: PluginSettings) -> None:
        self._prefix = settings.key_prefix
        self._own = Policy(settings.policy, settings.policy, 0.0, settings.groups)
        self._read: object = None
        self.policy = self._own
        self.off: frozenset[str] = frozenset()

    async def refresh(self, client: AsyncClient) -> None:
        """Reads both keys. Raises redis errors; everything then stays as it was."""
        pipeline = client.pipeline(transaction=False)
        pipeline.smembers(self._prefix + OFF_KEY)
        pipeline.lindex(self._prefix + POLICIES_KEY, 0)
        off, newest = await pipeline.execute()
        self._switch(frozenset(map(str, off)))
        if newest != self._read:
            self._read = newest
            self._take(newest)

    def _switch(self, off: frozenset[str]) -> None:
        for group in sorted(off ^ self.off):
            log.warning("group %s is switched %s", group, "off: LiteLLM routes it" if group in off else "on")
        self.off = off

    def _take(self, newest: object) -> None:
        try:
            found = self._own if newest is None else read_policy(newest)
        except ValueError as error:
            log.warning("the published policy is refused, %s stays in force: %s", self.policy.version, error)
            return
        if found.base != self._own.base:
            log.warning(
                "policy %s was published over another YAML (%s) than this worker's (%s): the YAML is in force",
                *(found.version, found.base, self._own.base),
            )
            found = self._own
        if found.version != self.policy.version:
            log.info("policy %s is in force, after %s", found.version, self.policy.version)
            for note in unusable_classifiers(found.groups):
                log.error("%s", note)
        self.policy = found


def read_policy(text: object) -> Policy:
    """Reads a published policy. Raises ValueError, which says what is wrong with it."""
    try:
        said = json.loads(str(text))
        settings = PluginSettings.model_validate({"groups": said["groups"]})
        return Policy(settings.policy, str(said["base"]), float(said["at_s"]), settings.groups)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected JSON with version, base, at_s and groups: {error!r}") from error


def history(client: BlockingClient, prefix: str) -> list[Policy]:
    """The published policies, the newest first; those that can't be read are left out. Raises redis errors."""
    found = []
    for text in cast("Sequence[str]", client.lrange(prefix + POLICIES_KEY, 0, KEPT - 1)):
        try:
            found.append(read_policy(text))
        except ValueError:
            continue
    return found


def publish(client: BlockingClient, running: PluginSettings, groups: Mapping[str, GroupSettings]) -> Policy:
    """Puts `groups` in force over the YAML `running`, which also names the key prefix. Raises redis errors."""
    policies = history(client, running.key_prefix)
    if not policies or policies[0].base != running.policy:  # so that there is something to roll back to
        _push(client, running, running.groups)
    return _push(client, running, groups)


def roll_back(client: BlockingClient, running: PluginSettings) -> Policy | None:
    """Puts the policy before the newest in force again; `None` where there is none. Raises redis errors."""
    policies = [policy for policy in history(client, running.key_prefix) if policy.base == running.policy]
    before = next((policy for policy in policies[1:] if policy.version != policies[0].version), None)
    return None if before is None else _push(client, running, before.groups)


def switch(client: BlockingClient, prefix: str, group: str, *, on: bool) -> None:
    """Lets the plugin route a group (`on`), or LiteLLM alone. Raises redis errors."""
    if on:
        client.srem(prefix + OFF_KEY, group)
    else:
        client.sadd(prefix + OFF_KEY, group)


def switched_off(client: BlockingClient, prefix: str) -> frozenset[str]:
    """The groups that are switched off. Raises redis errors."""
    members = client.smembers(prefix + OFF_KEY)
    assert not isinstance(members, Awaitable)  # noqa: S101  # redis-py types both kinds of client alike
    return frozenset(map(str, members))


def _push(client: BlockingClient, running: PluginSettings, groups: Mapping[str, GroupSettings]) -> Policy:
    version = running.model_copy(update={"groups": dict(groups)}).policy
    policy = Policy(version, running.policy, time.time(), groups)
    stated = {name: group.model_dump(exclude_unset=True) for name, group in groups.items()}
    said = {**policy._asdict(), "groups": stated}
    with client.pipeline(transaction=True) as pipeline:
        pipeline.lpush(running.key_prefix + POLICIES_KEY, json.dumps(said))
        pipeline.ltrim(running.key_prefix + POLICIES_KEY, 0, KEPT - 1)
        pipeline.execute()
    return policy
