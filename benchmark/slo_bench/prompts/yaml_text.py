"""YAML that ships with the agent or is handed to it: the document, and where in the text its entries stand."""

from __future__ import annotations

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast where PyYAML was built with it


def read(text: str) -> object:
    """The document. Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506  # both are safe loaders


def read_with_lines(text: str) -> tuple[object, list[int]]:
    """The document, and the lines of the entries of its last list. Raises yaml.YAMLError."""
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()
    entries = root.value[-1][1] if isinstance(root, yaml.MappingNode) and root.value else None
    lines = [node.start_mark.line + 1 for node in entries.value] if isinstance(entries, yaml.SequenceNode) else []
    return document, lines
