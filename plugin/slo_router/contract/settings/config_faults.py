"""Checks that need a whole configuration: its groups, ids and categories. Each fault is one line.

The models in `config` check single sections.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from slo_router.contract.settings.config_notes import GROUPS_PATH, entries_of, has_database, unroutable
from slo_router.contract.settings.deployments import ManagedDeployment, group_of
from slo_router.contract.settings.group import ShadowEvaluationSettings
from slo_router.contract.settings.tasks.categorizer import Trained


class Group(Protocol):
    """The part of a group's settings that the checks need."""

    @property
    def min_quality(self) -> Mapping[str, float]:
        """The floors, by category."""
        ...

    @property
    def trained(self) -> Trained | None:
        """The group's classifier, `None` without one."""
        ...

    @property
    def shadow_evaluation(self) -> ShadowEvaluationSettings | None:
        """The group's shadow evaluation, with its judge; `None` without one."""
        ...

    @property
    def known_categories(self) -> tuple[str, ...]:
        """Every category that a request can have."""
        ...


def faults_by_name(
    document: Mapping[str, object], groups: Collection[str], deployments: Sequence[ManagedDeployment]
) -> Iterator[str]:
    """The faults that do not depend on the groups' settings, which may be wrong themselves."""
    yield from _missing_groups(document, groups)
    yield from _duplicates(deployments)


def faults_of(
    document: Mapping[str, object], groups: Mapping[str, Group], deployments: Sequence[ManagedDeployment]
) -> Iterator[str]:
    """The faults that depend on the groups' settings."""
    yield from _missing_judges(document, groups)
    yield from _unknown_categories(groups, deployments)


def _missing_groups(document: Mapping[str, object], groups: Collection[str]) -> Iterator[str]:
    """Faults of groups that can never have a deployment, for no database may add one."""
    entries = entries_of(document)
    inhabited = {group_of(entry, groups) for entry in entries}
    for group in groups:
        if group not in inhabited and not has_database(document) and unroutable(document, group) is None:
            names = sorted({str(entry.get("model_name")) for entry in entries})
            yield f"{GROUPS_PATH}.{group}: no such group, expected a model_name of model_list: {names}"


def _missing_judges(document: Mapping[str, object], groups: Mapping[str, Group]) -> Iterator[str]:
    """Faults of judges that are no model of this proxy."""
    names = sorted({str(entry.get("model_name")) for entry in entries_of(document)})
    for group, settings in groups.items():
        judge = None if settings.shadow_evaluation is None else settings.shadow_evaluation.judge
        if judge is not None and judge not in names and not has_database(document):
            path = f"{GROUPS_PATH}.{group}.shadow_evaluation.judge"
            yield f"{path}: {judge!r}, expected a model_name of model_list: {names}"


def _unknown_categories(groups: Mapping[str, Group], deployments: Iterable[ManagedDeployment]) -> Iterator[str]:
    """Faults of qualities for a category that no request of the group can have."""
    for name, group in groups.items():
        yield from _unknown(group.min_quality, group, f"{GROUPS_PATH}.{name}.min_quality")
    for deployment in deployments:
        path = f"model_list: {deployment.facts.name}: model_info.slo_router.quality"
        yield from _unknown(deployment.facts.quality, groups[deployment.group], path)


def _unknown(table: Iterable[str], group: Group, path: str) -> Iterator[str]:
    if group.trained is not None and group.trained.fault:  # its categories are unknown
        return
    known = ("default", *group.known_categories)
    for category in table:
        if category not in known:
            yield f"{path}.{category}: no such category, expected one of {', '.join(known)}"


def unusable_classifiers(groups: Mapping[str, Group]) -> Iterator[str]:
    """Notes on groups whose classifier cannot be used. The plugin starts all the same."""
    for name, group in groups.items():
        if group.trained is not None and group.trained.fault:
            path = f"{GROUPS_PATH}.{name}.categorizer.trained"
            yield f"{path}: {group.trained.fault}; until then the built-in rules tell the tasks"


def _duplicates(deployments: Iterable[ManagedDeployment]) -> Iterator[str]:
    """Faults of ids that are used twice. Equal entries share a generated id; LiteLLM takes them for one: no fault."""
    seen: dict[str, str] = {}
    for deployment in deployments:
        name = deployment.facts.deployment_id
        if name in seen and deployment.has_own_id:
            yield (
                f"model_list: id {name!r} is used twice, expected ids to be unique: "
                f"{seen[name]}.model_info.id and {deployment.path}.model_info.id"
            )
        seen.setdefault(name, deployment.path)
