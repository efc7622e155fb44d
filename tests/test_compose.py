"""`docker-compose.yml` holds together: what it names exists, and no secret has a value that somebody else knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from typer.testing import CliRunner

from slo_bench.cli import app

Service: TypeAlias = dict[str, Any]  # as the Compose schema allows it; tests/test_yaml_files.py checks against that

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
SERVICES: dict[str, Service] = DOCUMENT["services"]
EXAMPLE = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE))


def mounts(service: Service) -> list[list[str]]:
    return [volume.split(":") for volume in service.get("volumes", [])]


def test_every_variable_is_explained_in_env_example_and_none_is_there_for_nothing() -> None:
    assert set(re.findall(r"\$\{([A-Z_]+)", TEXT)) == set(EXAMPLE)


def test_a_required_variable_has_no_value_to_start_with_and_an_optional_one_its_default() -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?set it in .env, see .env.example\}", TEXT))
    assert required == {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "REDIS_PASSWORD", "POSTGRES_PASSWORD"}
    defaults = dict.fromkeys(required, "") | dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT))
    assert defaults == EXAMPLE


def test_the_proxy_gets_every_variable_that_the_shipped_configuration_reads() -> None:
    config = (ROOT / "litellm_config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"os\.environ/([A-Z_]+)", config)) <= set(SERVICES["litellm"]["environment"])


@pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))
def test_what_a_service_refers_to_exists(service: Service) -> None:
    for source, _, *mode in mounts(service):
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"], f"{source} is ours: a container only reads it"
        else:
            assert source in DOCUMENT["volumes"], source
    for name, dependency in service.get("depends_on", {}).items():
        assert dependency["condition"] != "service_healthy" or "test" in SERVICES[name]["healthcheck"], name


@pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))
def test_a_service_that_stays_up_has_a_health_check_and_one_that_ends_says_that_it_needs_none(service: Service) -> None:
    if service["restart"] == "unless-stopped":
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    else:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
        assert service["profiles"]  # else `up` would run it


def test_the_image_of_the_agent_is_the_one_that_the_proxy_is_built_into() -> None:
    assert SERVICES["benchmark"]["image"] == SERVICES["litellm"]["image"]
    assert SERVICES["litellm"]["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"}


def test_what_the_image_copies_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, flags=re.MULTILINE) for source in line.split()
    ]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in ignored  # everything else, an .env with secrets included, stays out


def test_the_image_has_the_litellm_that_the_tests_run_on() -> None:
    (tested,) = re.findall(
        r"^litellm==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert re.findall(r"^ARG LITELLM_IMAGE=litellm/litellm:v(\S+)$", DOCKERFILE, flags=re.MULTILINE) == [tested]


def test_the_agent_understands_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    program, *arguments = SERVICES["benchmark"]["entrypoint"]
    inside = {mount[1]: str(ROOT / mount[0]) for mount in mounts(SERVICES["benchmark"])}
    assert program == "slo-bench"
    result = CliRunner().invoke(app, [inside.get(argument, argument) for argument in arguments] + ["--dry-run"])
    assert result.exit_code == 0, result.output
    for deployment in ("qwen-7b", "gpt-5-mini", "claude-opus"):
        assert deployment in result.output
    assert "not measured" not in result.output  # through the proxy it reaches every provider
