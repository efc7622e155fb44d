"""`docker-compose.yml` is consistent: everything that it names exists, and no secret has a publicly known value.

No container runs here: the tests read the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from evaluation.emulator.spec import EndpointSpec, read_specs
from slo_bench.cli import app
from slo_router.contract.settings.config import load_settings
from slo_router.contract.settings.deployments import ManagedDeployment
from tests.shared.repository import ROOT

Service: TypeAlias = dict[str, Any]  # as the Compose schema allows it; test_yaml_files.py checks against that

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
SERVICES: dict[str, Service] = DOCUMENT["services"]
COMPOSE = ROOT / "deploy" / "compose"
VLLM = {name: service for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]}
EXAMPLE = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE))


def mounts(service: Service) -> list[list[str]]:
    """Source, target and mode of each mount, with every variable at its default."""
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":") for volume in service.get("volumes", [])]


def flags(service: Service) -> dict[str, str]:
    return dict(re.findall(r"^--([a-z-]+)=(.+)$", "\n".join(service["command"]), flags=re.MULTILINE))


def deployments(name: str, monkeypatch: pytest.MonkeyPatch) -> Sequence[ManagedDeployment]:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    return load_settings(COMPOSE / name).deployments


def test_every_variable_is_explained_in_env_example_and_none_is_there_for_nothing() -> None:
    assert set(re.findall(r"\$\{([A-Z_]+)", TEXT)) == set(EXAMPLE)


def test_a_required_variable_has_no_value_to_start_with_and_an_optional_one_its_default() -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?set it in .env, see .env.example\}", TEXT))
    secrets = {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "REDIS_PASSWORD", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    assert required == secrets
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
        assert service["profiles"]  # otherwise `up` would run it


def test_the_image_of_the_agent_is_the_one_that_the_proxy_is_built_into() -> None:
    assert SERVICES["benchmark"]["image"] == SERVICES["litellm"]["image"]
    build = SERVICES["litellm"]["build"]
    assert (build["context"], build["dockerfile"]) == (".", "deploy/Dockerfile")
    assert SERVICES["emulated"]["image"] == SERVICES["litellm"]["image"]


def test_what_the_image_copies_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, flags=re.MULTILINE) for source in line.split()
    ]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in ignored  # all else stays out, also an .env with secrets


def test_the_image_has_the_newest_litellm_that_the_tests_run_on() -> None:
    newest = (ROOT / "requirements-newest.lock").read_text(encoding="utf-8")
    (tested,) = re.findall(r"^litellm==(\S+)", newest, flags=re.MULTILINE)
    assert re.findall(r"^ARG LITELLM_IMAGE=litellm/litellm:v(\S+)$", DOCKERFILE, flags=re.MULTILINE) == [tested]
    assert EXAMPLE["LITELLM_IMAGE"] == f"litellm/litellm:v{tested}"


def test_every_image_of_others_has_an_exact_version() -> None:
    images = {service["image"] for service in SERVICES.values()} - {"litellm-slo-router"}
    assert all(re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)*(-alpine)?", image) for image in images), images


@pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))
def test_no_process_of_a_container_can_gain_rights_and_ours_have_none(service: Service) -> None:
    if service in VLLM.values():
        return  # NVIDIA's runtime sets these containers up
    assert service["security_opt"] == ["no-new-privileges:true"]
    if service["image"].startswith(("redis", "postgres")):
        return  # they start as root, own their folder and switch to their own user
    assert service["cap_drop"] == ["ALL"]


def test_what_listens_on_this_host_does_so_on_the_loopback_interface_unless_told_otherwise() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(re.match(r"\$\{\w+_LISTEN:-127\.0\.0\.1:\d+\}:\d+$", port) for port in published), published


def test_prometheus_reads_the_proxy_with_the_key_that_is_mounted_for_it() -> None:
    assert DOCUMENT["secrets"] == {"litellm_master_key": {"environment": "LITELLM_MASTER_KEY"}}
    assert SERVICES["prometheus"]["secrets"] == ["litellm_master_key"]


def test_each_vllm_service_is_a_deployment_of_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {d.facts.deployment_id: d for d in deployments("gpu.yaml", monkeypatch)}
    assert set(found) == set(VLLM) == {"qwen-7b", "qwen-14b", "qwen-72b"}
    for name, service in VLLM.items():
        given, facts = flags(service), found[name].facts
        assert (facts.model, facts.context_tokens) == (f"openai/{name}", int(given["max-model-len"]))
        assert given["served-model-name"] == name
        address = urlsplit(found[name].api_base or "")
        assert (address.hostname, address.port) == (name, int(given["port"]))
        assert facts.metrics_url == f"http://{name}:{given['port']}/metrics"
        assert f":{given['port']}/health" in service["healthcheck"]["test"][-1]


def test_every_flag_of_the_vllm_services_is_explained_and_no_gpu_is_used_twice() -> None:
    explained = set(re.findall(r"^  # +--([a-z-]+)", TEXT, flags=re.MULTILINE))
    used = {flag for service in VLLM.values() for flag in re.findall(r"--([a-z-]+)", " ".join(service["command"]))}
    assert used == explained | {"model", "port"}
    devices = [service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for service in VLLM.values()]
    gpus = [gpu for ids in devices for gpu in ids]
    assert len(gpus) == len(set(gpus))
    sizes = [int(flags(service).get("tensor-parallel-size", "1")) for service in VLLM.values()]
    assert sizes == [len(ids) for ids in devices]


def test_the_emulated_endpoints_are_the_deployments_of_their_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = SERVICES["emulated"]
    (path,) = [source for source, target, _ in mounts(emulated) if target == emulated["entrypoint"][-1]]
    specs: list[EndpointSpec] = read_specs(ROOT / path)
    found = deployments("cpu.yaml", monkeypatch)
    assert [(s.name, f"http://localhost:{s.port}/v1", s.context_tokens) for s in specs] == [
        (d.facts.deployment_id, d.api_base, d.facts.context_tokens) for d in found
    ]
    assert emulated["network_mode"] == "service:litellm"  # so localhost is the proxy


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
