"""Tells a spend log's task as the row's own group tells it: by its conditions, its words or its classifier.

A group that the plugin does not manage has the built-in rules. Spend logs have a request's tags, and its body if the
proxy keeps prompts, but no headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slo_router.contract.settings.config_faults import unusable_classifiers
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.groups import ManagedGroup
from slo_router.request.features import body_of


class Tasks:
    """Tells tasks for the groups that the plugin manages, and for all others."""

    def __init__(self, groups: Mapping[str, GroupSettings]) -> None:
        self._groups = {name: ManagedGroup(settings, "") for name, settings in groups.items()}
        self._other = ManagedGroup(GroupSettings(), "")

    def tell(self, group: str, request: Mapping[str, object]) -> str | None:
        """The category of a request, `unsure` where its text tells none; `None` where nothing of it was kept."""
        category, source = self._groups.get(group, self._other).category(request)
        return category if source == "rule" or body_of(request) else None

    def notes(self) -> Iterator[str]:
        """Cases in which the proxy may tell another task."""
        settings = {name: one.settings for name, one in self._groups.items()}
        yield from (f"{fault}." for fault in unusable_classifiers(settings))
        for name, group in settings.items():
            by_header = [task for task, own in group.categories.items() if any(one.header for one in own.when)]
            if by_header:
                yield (
                    f"{name} tells {', '.join(by_header)} by headers, which spend logs do not have: such requests "
                    "count as what else they look like."
                )
