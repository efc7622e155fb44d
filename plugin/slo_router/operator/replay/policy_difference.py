"""The differences between two policies, setting by setting, in words: `smart.slo.ttft_ms: 150, was 300`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slo_router.contract.settings.group import GroupSettings

ABSENT = "unset"

Flat = Mapping[str, object]


def differences(old: Mapping[str, GroupSettings], new: Mapping[str, GroupSettings]) -> list[str]:
    """Every setting that differs between `old` and `new`, sorted by path."""
    before, after = _flat(old), _flat(new)
    paths = sorted(before.keys() | after.keys())
    return [
        f"{path}: {after.get(path, ABSENT)}, was {before.get(path, ABSENT)}"
        for path in paths
        if before.get(path, ABSENT) != after.get(path, ABSENT)
    ]


def _flat(groups: Mapping[str, GroupSettings]) -> Flat:
    return dict(_leaves("", {name: group.model_dump(mode="json") for name, group in groups.items()}))


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif value is not None:
        yield path, value
