"""The code stays easy to work in: short functions, short files, small folders."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.shared.repository import ROOT

FUNCTION_LINES, FILE_LINES, FOLDER_MODULES = 50, 300, 12
PACKAGES = (ROOT / "plugin" / "slo_router", ROOT / "benchmark" / "slo_bench")


def files(*places: Path) -> Iterator[Path]:
    for place in places:
        yield from sorted(place.rglob("*.py"))


def test_no_function_and_no_file_is_long() -> None:
    long: dict[str, int] = {}
    for path in files(*PACKAGES, ROOT / "evaluation"):
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        if len(text.splitlines()) > FILE_LINES:
            long[name] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{name}:{node.name}"] = lines
    assert long == {}


def test_no_folder_is_crowded() -> None:
    counts = Counter(path.parent.relative_to(ROOT) for path in files(*PACKAGES) if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > FOLDER_MODULES} == {}
