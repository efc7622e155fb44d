"""What cannot be meant about groups, ids and categories of a whole configuration: one line for each fault.

A single section is checked by its own model, see `config`; these need all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from slo_router.contract.settings.config_notes import GROUPS_PATH, entries_of, has_database, is_known
from slo_router.contract.settings.deployment_ids import group_of
from slo_router.contract.settings.deployments import ManagedDeployment


class Group(Protocol):
    """What is needed of a group's settings."""

    @property
    def min_quality(self) -> Mapping[str, float]:
        """The floors, by category."""
        ...

    @property
    def known_categories(self) -> tuple[str, ...]:
        """Every category that a request can have."""
        ...


def missing_groups(document: Mapping[str, object], groups: Mapping[str, object]) -> Iterator[str]:
    """The groups that nothing can ever be in: no database may add to them."""
    entries = entries_of(document)
    inhabited = {group_of(entry, groups) for entry in entries}
    for group in groups:
        if group not in inhabited and not has_database(document) and not is_known(document, group):
            names = sorted({str(entry.get("model_name")) for entry in entries})
            yield f"{GROUPS_PATH}.{group}: no such group, expected a model_name of model_list: {names}"


def unknown_categories(groups: Mapping[str, Group], deployments: Iterable[ManagedDeployment]) -> Iterator[str]:
    """Qualities for a category that no request of the group can have."""
    for name, group in groups.items():
        yield from _unknown(group.min_quality, group, f"{GROUPS_PATH}.{name}.min_quality")
    for deployment in deployments:
        path = f"model_list: {deployment.facts.name}: model_info.slo_router.quality"
        yield from _unknown(deployment.facts.quality, groups[deployment.group], path)


def _unknown(table: Iterable[str], group: Group, path: str) -> Iterator[str]:
    known = ("default", *group.known_categories)
    for category in table:
        if category not in known:
            yield f"{path}.{category}: no such category, expected one of {', '.join(known)}"


def duplicates(deployments: Iterable[ManagedDeployment]) -> Iterator[str]:
    """Two entries that are alike in all have one generated id, and LiteLLM takes them for one: that does no harm."""
    seen: dict[str, str] = {}
    for deployment in deployments:
        name = deployment.facts.deployment_id
        if name in seen and deployment.has_own_id:
            yield (
                f"model_list: id {name!r} is used twice, expected ids to be unique: "
                f"{seen[name]}.model_info.id and {deployment.path}.model_info.id"
            )
        seen.setdefault(name, deployment.path)
