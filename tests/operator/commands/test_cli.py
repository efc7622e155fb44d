"""Every command of `slo-router` explains itself in its help, takes --json, and says if a file is missing."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from slo_router.operator.cli import app

RUNNER = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})
COMMANDS = ["check", "status", "explain", "report", "replay"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_json(command: str) -> None:
    done = RUNNER.invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: slo-router {command}" in done.stdout
    assert "--json" in done.stdout


def test_the_help_of_all_names_each() -> None:
    shown = RUNNER.invoke(app, ["--help"]).stdout
    assert "Start with: slo-router check litellm_config.yaml" in shown
    assert all(command in shown for command in [*COMMANDS, "redis"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "nowhere.yaml"],
        ["status", "--config", "nowhere.yaml"],
        ["explain", "id", "--config", "nowhere.yaml"],
        ["report", "--config", "nowhere.yaml"],
        ["replay", "--policy", "nowhere.yaml", "--config", "nowhere.yaml"],
    ],
)
def test_a_yaml_that_is_not_there_is_named(arguments: list[str]) -> None:
    done = RUNNER.invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nowhere.yaml: No such file or directory, expected a LiteLLM configuration file" in done.stderr
