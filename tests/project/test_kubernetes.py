"""The Kubernetes manifests fit the API's schemas and each other, and ask for no right that they don't need.

No cluster runs here. The tests check the files by the rules below and by the JSON schemas of two Kubernetes versions,
strictly: an unknown field is an error. The package `kubernetes-validate` bundles the schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from slo_bench.cli import app
from slo_router.contract.settings.config import load_settings
from tests.shared.repository import ROOT

Manifest: TypeAlias = dict[str, Any]  # as the API's schema allows it

FOLDER = ROOT / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.30", "1.37"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
MANIFESTS: list[Manifest] = [
    document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
]
SECRETS = {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "DATABASE_URL", "REDIS_PASSWORD", "REDIS_URL"}


class Workload(NamedTuple):
    """A manifest that runs pods, with their specification and labels."""

    manifest: Manifest
    pod: Manifest
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        name: str = self.manifest["metadata"]["name"]
        return name

    @property
    def serves(self) -> bool:
        """Whether the workload stays up, and is not a job."""
        return self.manifest["kind"] in {"Deployment", "StatefulSet"}


def of_kind(kind: str) -> list[Manifest]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def workloads() -> Iterator[Workload]:
    for manifest in MANIFESTS:
        spec = manifest.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template:
            yield Workload(manifest, template["spec"], template["metadata"]["labels"])


WORKLOADS = list(workloads())
CONTAINERS = {workload.name: container for workload in WORKLOADS for container in workload.pod["containers"]}
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
each_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=list(CONTAINERS))


def selects(selector: Mapping[str, Any], workload: Workload) -> bool:
    wanted = selector.get("matchLabels", selector)
    return all(workload.labels.get(name) == value for name, value in wanted.items())


def network_peers(policy: Manifest) -> Iterator[Manifest]:
    for direction, end in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(direction, []):
            yield from (peer["podSelector"] for peer in rule.get(end, []) if "podSelector" in peer)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_manifest_is_what_the_api_accepts(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_see_a_misspelt_field() -> None:
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"porst": []}}
    with pytest.raises(kubernetes_validate.ValidationError, match="porst"):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_every_file_is_applied_and_no_two_manifests_are_the_same_object() -> None:
    generated = {name.partition("=")[2] for name in KUSTOMIZATION["configMapGenerator"][0]["files"]}
    applied = {*KUSTOMIZATION["resources"], "kustomization.yaml"} | generated
    assert {path.name for path in FOLDER.iterdir()} == applied
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in MANIFESTS]
    assert len(names) == len(set(names))
    assert [manifest["metadata"]["name"] for manifest in of_kind("Namespace")] == [KUSTOMIZATION["namespace"]]


@each_workload
def test_a_pod_runs_as_nobody_special(workload: Workload) -> None:
    context = workload.pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert workload.pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(workload.pod)
    assert not [volume for volume in workload.pod.get("volumes", []) if "hostPath" in volume]


@each_workload
def test_a_container_can_write_to_its_volumes_only_and_gain_no_right(workload: Workload) -> None:
    (container,) = workload.pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
    claims = {claim["metadata"]["name"] for claim in workload.manifest["spec"].get("volumeClaimTemplates", [])}
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounted) == set(volumes) | claims
    assert all("sizeLimit" in volume["emptyDir"] for volume in volumes.values() if "emptyDir" in volume)
    assert all(mounted[name]["readOnly"] for name, volume in volumes.items() if "configMap" in volume)


@each_container
def test_a_container_says_what_it_needs_and_may_take(container: Manifest) -> None:
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert {"cpu", "memory"} <= set(requests)
    assert set(requests) == set(limits)
    assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu")  # for GPUs, request and limit must be equal


@each_workload
def test_what_serves_has_all_three_probes_and_a_job_ends_by_itself(workload: Workload) -> None:
    (container,) = workload.pod["containers"]
    probes = {"startupProbe", "readinessProbe", "livenessProbe"}
    if workload.serves:
        assert probes <= set(container)
        ports = {port["name"] for port in container["ports"]}
        asked = {container[probe]["httpGet"]["port"] for probe in probes if "httpGet" in container[probe]}
        assert asked <= ports
    else:
        spec = workload.manifest["spec"]
        assert spec.get("jobTemplate", {}).get("spec", spec)["activeDeadlineSeconds"] > 0
        assert not probes & set(container)


@each_container
def test_an_image_has_an_exact_version(container: Manifest) -> None:
    ours = {image["name"]: image for image in KUSTOMIZATION["images"]}
    if container["image"] in ours:
        assert {"newTag", "digest"} & set(ours[container["image"]])
    else:
        assert container["image"].partition(":")[2].lstrip("v")[0].isdigit()


@each_container
def test_a_secret_comes_from_the_secret_that_the_first_lines_say_how_to_make(container: Manifest) -> None:
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None:
            assert reference["name"] == "slo-router"
            assert reference["key"] in SECRETS
        else:
            assert not any(word in variable["name"] for word in ("KEY", "PASSWORD", "TOKEN", "SECRET"))
    assert all(source == {"secretRef": {"name": "slo-router"}} for source in container.get("envFrom", []))


def test_the_first_lines_name_every_secret() -> None:
    text = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    assert all(name in text for name in SECRETS)
    assert not of_kind("Secret")  # a Secret in a manifest would be committed


def test_what_has_replicas_has_a_disruption_budget_that_lets_a_node_be_drained() -> None:
    deployments = [workload for workload in WORKLOADS if workload.manifest["kind"] == "Deployment"]
    for workload in deployments:
        (budget,) = [b for b in of_kind("PodDisruptionBudget") if selects(b["spec"]["selector"], workload)]
        replicas = workload.manifest["spec"].get("replicas", 1)
        assert budget["spec"].get("maxUnavailable", 0) >= 1 or budget["spec"]["minAvailable"] < replicas
    assert len(of_kind("PodDisruptionBudget")) == len(deployments) == 2


def test_there_are_several_proxies_and_none_is_missed_during_a_rollout() -> None:
    (proxy,) = [workload for workload in WORKLOADS if workload.name == "litellm"]
    assert proxy.manifest["spec"]["replicas"] >= 2
    assert proxy.manifest["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pause_s = int(proxy.pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    timeout_s = yaml.safe_load((FOLDER / "litellm_config.yaml").read_text(encoding="utf-8"))["router_settings"][
        "timeout"
    ]
    assert proxy.pod["terminationGracePeriodSeconds"] >= pause_s + timeout_s


def test_model_servers_scale_on_the_requests_that_they_run_and_before_they_are_full() -> None:
    scalers = {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in of_kind("HorizontalPodAutoscaler")}
    (server,) = [workload for workload in WORKLOADS if workload.labels.get("app.kubernetes.io/component") == "model"]
    (metric,) = scalers[server.name]["metrics"]
    assert metric["pods"]["metric"] == {"name": "vllm_num_requests_running"}
    arguments = dict(argument.split("=") for argument in server.pod["containers"][0]["args"] if "=" in argument)
    assert int(metric["pods"]["target"]["averageValue"]) < int(arguments["--max-num-seqs"])
    assert "replicas" not in server.manifest["spec"]  # otherwise each `apply` undoes the autoscaler
    assert scalers["litellm"]["minReplicas"] == 3


def test_a_service_reaches_a_port_of_one_workload() -> None:
    for service in of_kind("Service"):
        (target,) = [w for w in WORKLOADS if w.serves and selects(service["spec"]["selector"], w)]
        names = {port["name"] for port in target.pod["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_everything_is_forbidden_that_a_policy_does_not_allow_and_every_policy_is_of_somebody() -> None:
    policies = {policy["metadata"]["name"]: policy for policy in of_kind("NetworkPolicy")}
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies.values():
        for selector in (policy["spec"]["podSelector"], *network_peers(policy)):
            assert any(selects(selector, workload) for workload in WORKLOADS), selector
    covered = [p["spec"]["podSelector"]["matchLabels"] for p in policies.values() if p["spec"]["podSelector"]]
    assert all(any(selects(labels, workload) for labels in covered) for workload in WORKLOADS)


def allowed(sender: str, receiver: str, port: int) -> bool:
    """Whether the policies of both sides let one workload talk to another."""
    ends = {workload.name: workload for workload in WORKLOADS}

    def opens(direction: str, end: str, own: Workload, peer: Workload) -> bool:
        return any(
            selects(policy["spec"]["podSelector"], own)
            and any(one["port"] == port for one in rule["ports"])
            and (end not in rule or any(selects(p["podSelector"], peer) for p in rule[end] if "podSelector" in p))
            for policy in of_kind("NetworkPolicy")
            for rule in policy["spec"].get(direction, [])
        )

    return opens("egress", "to", ends[sender], ends[receiver]) and opens(
        "ingress", "from", ends[receiver], ends[sender]
    )


@pytest.mark.parametrize(
    ("sender", "receiver", "port", "expected"),
    [
        ("litellm", "redis", 6379, True),
        ("litellm", "qwen-7b", 8000, True),
        ("benchmark", "litellm", 4000, True),
        ("benchmark", "redis", 6379, True),
        ("benchmark", "qwen-7b", 8000, False),  # it measures through the proxy, like clients
        ("qwen-7b", "redis", 6379, False),
        ("qwen-7b", "litellm", 4000, False),
        ("redis", "litellm", 4000, False),
        ("litellm-migration", "redis", 6379, False),
    ],
)
def test_who_may_talk_to_whom(sender: str, receiver: str, port: int, expected: bool) -> None:
    assert allowed(sender, receiver, port) is expected


def test_the_configuration_names_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    bases = [d.api_base for d in load_settings(FOLDER / "litellm_config.yaml").deployments if d.api_base]
    services = {f"http://{s['metadata']['name']}:{s['spec']['ports'][0]['port']}/v1" for s in of_kind("Service")}
    assert bases
    assert set(bases) <= services


def test_the_agent_understands_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    container = CONTAINERS["benchmark"]
    program, *arguments = container["command"] + container["args"]
    inside = {"/etc/litellm/config.yaml": str(FOLDER / "litellm_config.yaml")}
    assert program == "slo-bench"
    result = CliRunner().invoke(app, [inside.get(argument, argument) for argument in arguments] + ["--dry-run"])
    assert result.exit_code == 0, result.output
    assert "qwen-7b" in result.output
