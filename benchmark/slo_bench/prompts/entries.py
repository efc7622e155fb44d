"""Reads files of entries, YAML or JSONL: prompts of a workload, items of a suite. Errors name file, line and field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel

from slo_bench.errors import BenchError
from slo_router.contract.settings.validation import validate
from slo_router.errors import SettingsError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast where PyYAML was built with it

Model = TypeVar("Model", bound=BaseModel)
Fault = type[BenchError]


def shipped_text(place: str) -> str:
    """The text of a file that ships with the agent."""
    return (resources.files("slo_bench") / place).read_text(encoding="utf-8")


def read_yaml(text: str) -> object:
    """The document. Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506  # both are safe loaders


def text_of(path: Path, fault: Fault) -> str:
    """The text of a user's file. Raises `fault`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise fault(f"{path}: {error.strerror}, expected a file in YAML or JSONL") from error
    except UnicodeDecodeError as error:
        raise fault(f"{path}: not UTF-8 text, byte {error.start} is invalid") from error


def entries(text: str, name: str, key: str, model: type[Model], fault: Fault) -> list[Model]:
    """The entries of the file `name`: the lines of JSONL, else the list under `key`. Raises `fault`."""
    found = _lines(text, name, fault) if name.endswith((".jsonl", ".ndjson")) else _listed(text, name, key, fault)
    read = [checked(model, entry, f"{name}:{line}", fault) for line, entry in found]
    if not read:
        raise fault(f"{name}: no {key}, expected at least one")
    return read


def checked(model: type[Model], entry: object, place: str, fault: Fault) -> Model:
    """One entry. Raises `fault` with each wrong field below `place`."""
    try:
        return validate(model, entry, place)
    except SettingsError as error:
        raise fault(str(error)) from error


def _lines(text: str, name: str, fault: Fault) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise fault(f"{name}:{number}: not valid JSON: {error}") from error


def _listed(text: str, name: str, key: str, fault: Fault) -> Iterator[tuple[int, object]]:
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        raise fault(f"{name}: not valid YAML: {error}") from error
    finally:
        loader.dispose()
    listed = document.get(key) if isinstance(document, dict) and len(document) == 1 else None
    if root is None or not isinstance(listed, list):
        raise fault(f"{name}: expected a mapping with one key, `{key}`, and a list below it")
    _, entry_nodes = root.value[0]
    yield from zip((node.start_mark.line + 1 for node in entry_nodes.value), listed, strict=True)
