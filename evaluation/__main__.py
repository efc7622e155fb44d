"""`python -m evaluation`: what studies there are, one line each: what to type, and what it shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
NO_STUDIES = ("demo", "emulator", "evidence", "shared")  # what studies, tests and users start beside them


def studies() -> Iterator[tuple[str, str]]:
    """Name to type and first line of the docstring, read from each module that can be started, without importing it."""
    for path in sorted(HERE.rglob("*.py")):
        module = path.relative_to(HERE.parent).with_suffix("")
        is_part = path.name != "__main__.py" and path.with_name("__main__.py").exists()  # of a study in a folder
        if path == HERE / "__main__.py" or module.parts[1] in NO_STUDIES or is_part:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(one, ast.If) and ast.unparse(one.test) == "__name__ == '__main__'" for one in tree.body):
            name = ".".join(part for part in module.parts if part != "__main__")
            yield name, (ast.get_docstring(tree) or "").partition("\n")[0]


def main() -> None:
    """Prints the list."""
    found = list(studies())
    width = max(len(name) for name, _ in found)
    for name, line in found:
        print(f"python -m {name:<{width}}  {line}")


if __name__ == "__main__":
    main()
