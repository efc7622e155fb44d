"""`python -m evaluation` lists the studies. Each line says what to type and what the study shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
NO_STUDIES = ("demo", "emulator", "evidence", "shared")  # programs beside the studies


def studies() -> Iterator[tuple[str, str]]:
    """Of each study, the name to type and the first line of its docstring. No study is imported for this."""
    for path in sorted(HERE.rglob("*.py")):
        module = path.relative_to(HERE.parent).with_suffix("")
        is_part = path.name != "__main__.py" and path.with_name("__main__.py").exists()  # a file of a larger study
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
