"""Reads a LiteLLM configuration file as the proxy does, and remarks on probable mistakes. LiteLLM is not imported.

    include:                 further files, also nested, are merged: lists are joined, other values replaced
    environment_variables:   LiteLLM sets them before it loads callbacks
    os.environ/NAME          becomes the variable's text, see `environment`; unset variables stay as written
    a repeated key           YAML silently takes the last one, so the values before it are lost: a remark names it

LiteLLM's own loader is in its server module, whose import takes 22 seconds of CPU. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from slo_router.contract.settings.environment import resolve_all, resolve_environment
from slo_router.errors import SettingsError


class Document(NamedTuple):
    """A whole configuration. `remarks` name its author's probable mistakes."""

    fields: Mapping[str, object]
    remarks: tuple[str, ...] = ()


def read_document(path: Path) -> Document:
    """The file with its includes merged and its variables resolved. Raises SettingsError with the file's name."""
    raw = read_raw(path)
    block = block_of(raw.fields)
    fields = {name: resolve_all(value, block) for name, value in raw.fields.items()}
    return Document(fields, raw.remarks)


def read_raw(path: Path) -> Document:
    """The file with its includes merged and `os.environ/NAME` unresolved. Raises SettingsError with the file's name."""
    fields, remarks = _load(path, "a LiteLLM configuration file")
    root, loaded = path.absolute().parent, {path.absolute()}
    pending = [(name, root) for name in _includes(fields, path)]
    while pending:
        name, declared_in = pending.pop(0)
        beside, of_root = (folder.joinpath(name).absolute() for folder in (declared_in, root))
        found = beside if beside.exists() or not of_root.exists() else of_root
        if found in loaded:
            continue
        loaded.add(found)
        included, more = _load(found, f"a file, for it stands under include: in {path}")
        pending += [(one, found.parent) for one in _includes(included, found)]
        remarks += more
        for key, value in included.items():
            if key == "include":
                continue
            here = fields.get(key)
            if isinstance(here, list) and isinstance(value, list):
                fields[key] = [*here, *value]
                continue
            if here is not None and here != value:
                remarks.append(f"{key}: include {name} replaces all of it, so what was said before is lost")
            fields[key] = value
    fields.pop("include", None)
    return Document(fields, tuple(remarks))


def block_of(fields: Mapping[str, object]) -> dict[str, str]:
    """The variables that LiteLLM sets from `environment_variables`, by name."""
    block = fields.get("environment_variables")
    found: dict[str, str] = {}
    for name, value in block.items() if isinstance(block, Mapping) else ():
        try:
            text = resolve_environment(value) if isinstance(value, str) else str(value)
        except ValueError:
            continue
        if isinstance(name, str) and text is not None:
            found[name] = text
    return found


def _load(path: Path, expected: str) -> tuple[dict[str, object], list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            doubled = [] if node is None else list(_doubled(node, "", set()))
            fields = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, expected {expected}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8, expected {expected}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(fields, dict):
        raise SettingsError(f"{path}: expected a mapping with model_list and callback_settings")
    return fields, [f"{path.name}: {line}" for line in doubled]


def _doubled(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    """The keys that occur twice in one mapping, with their lines."""
    if id(node) in seen:  # an anchor that is used again
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _doubled(item, f"{path}[{index}]", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        where = f"{path}.{name}" if path else name
        if name in first and key.tag != "tag:yaml.org,2002:merge":
            yield f"{where} stands twice, in lines {first[name]} and {line}: only the last counts"
        first.setdefault(name, line)
        yield from _doubled(value, where, seen)


def _includes(fields: Mapping[str, object], path: Path) -> list[str]:
    names = fields.get("include", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{path}: include: {names!r}, expected a list of file names")
    return names
