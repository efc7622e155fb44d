"""What users and other programs see: commands, settings, metrics, the record, headers and names in Redis."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import typer
from docs import generate_configuration
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

import slo_bench
import slo_router
from slo_bench.cli import app as bench
from slo_router.contract.record import RequestRecord
from slo_router.operator.cli import app as router
from slo_router.telemetry.families import Families

RUNNER = CliRunner(env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
NAMES = re.compile(r"x-slo-[a-z0-9-]*|slo_(?:router|bench):[a-z0-9_:.-]*|metrics:")


def helps() -> str:
    """The `--help` of both programs and of each of their commands."""
    return "".join(_help(name, app) for name, app in (("slo-router", router), ("slo-bench", bench)))


def _help(program: str, app: typer.Typer) -> str:
    pages = []
    for path in _paths(typer.main.get_command(app)):
        said = RUNNER.invoke(app, [*path, "--help"], prog_name=program)
        pages.append(f"$ {' '.join((program, *path))} --help\n{said.output}\n")
    return "".join(pages)


def _paths(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _paths(inner, (*path, name))


def settings() -> str:
    """The reference of the YAML settings."""
    return generate_configuration.render()


def metrics() -> str:
    """Every metric: name, type, labels, documentation."""
    registry = CollectorRegistry()
    Families(registry)
    labels = {getattr(one, "_name", ""): getattr(one, "_labelnames", ()) for one in registry._collector_to_names}  # noqa: SLF001
    found = (
        f"{one.name} {one.type} {','.join(labels.get(one.name, ()))}\n    {one.documentation}\n"
        for one in registry.collect()
    )
    return "".join(sorted(found))


def record() -> str:
    """The JSON schema of a request record."""
    return json.dumps(RequestRecord.model_json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"


def names() -> str:
    """Every header, and every Redis key or its beginning, that the code contains."""
    found = {
        name
        for package in (slo_router, slo_bench)
        for place in Path(str(package.__file__)).parent.rglob("*.py")
        for node in ast.walk(ast.parse(place.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
        for name in NAMES.findall(node.value)
    }
    return "".join(f"{name}\n" for name in sorted(found))
