"""Every YAML file of the repository is accepted by its reader. A file of an unknown kind fails until it has a check.

The shipped configuration also shows every option with its default.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from evaluation.demo.endpoints import own
from slo_bench.prompts.workload import load_workload, parse_workload
from slo_bench.quality.suite import load_suite
from slo_router.contract.settings.config import LogSettings, MetricSettings, PluginSettings, load_settings
from slo_router.contract.settings.deployments import ModelFacts
from slo_router.contract.settings.group import GroupSettings, RescueSettings, SloSettings
from slo_router.errors import SettingsError
from tests.shared.repository import ROOT

CONFIG = ROOT / "litellm_config.yaml"
CASES = ROOT / "tests" / "e2e" / "cases"
GROUPS = "callback_settings.slo_router.groups"
ENVIRONMENT = {
    "REDIS_URL": "redis://localhost:6379/0",
    "LITELLM_MASTER_KEY": "sk-of-a-test",
    "OPENAI_API_KEY": "none",
    "ANTHROPIC_API_KEY": "none",
}
LITELLM = """
import json, sys, litellm, yaml
groups = {}
for path in sys.argv[1:]:
    document = yaml.safe_load(open(path, encoding="utf-8"))
    router = litellm.Router(model_list=document["model_list"], **document.get("router_settings", {}))
    groups[path] = [entry["model_name"] for entry in router.model_list]
print(json.dumps(groups))
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def yaml_files() -> list[Path]:
    """All YAML files, committed or not yet committed."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.yaml", "*.yml"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in sorted(set(found)) if name and (ROOT / name).exists()]


@functools.cache
def groups_in_litellm(paths: tuple[Path, ...]) -> dict[str, list[str]]:
    """The groups of each file in LiteLLM's router. One start of LiteLLM reads all files."""
    local = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # no download of the price map
    command = [sys.executable, "-c", LITELLM, *map(str, paths)]  # a process, as LiteLLM leaves threads behind
    accepted = subprocess.run(command, env=local, capture_output=True, text=True, check=False)
    assert accepted.returncode == 0, accepted.stderr
    found: dict[str, list[str]] = json.loads(accepted.stdout.splitlines()[-1])
    return found


def check_proxy_config(path: Path) -> None:
    load_settings(path)
    listing = (one for one in yaml_files() if one.parent != CASES)
    configs = tuple(one for one in listing if "\nmodel_list:" in one.read_text(encoding="utf-8"))
    expected = [entry["model_name"] for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["model_list"]]
    assert groups_in_litellm(configs if path in configs else (path,))[str(path)] == expected


def check_compose(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def check_kubernetes(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if manifest["kind"] == "Kustomization":  # not part of the API; tests/project/test_kubernetes.py reads it
            assert manifest["resources"]
        else:
            kubernetes_validate.validate(manifest, "1.37", strict=True)


def check_workload(path: Path) -> None:
    load_workload(path)


def check_suite(path: Path) -> None:
    load_suite(path)


def check_patterns(path: Path) -> None:
    assert path.name == "patterns.yaml"
    assert {"ner", "summarization", "reasoning"} <= {item.category for item in load_suite(None).items}


def check_demo_endpoints(path: Path) -> None:
    assert len(own(path)) >= 2


def is_tried_by(test: str) -> Callable[[Path], None]:
    """A check for files that only their own program can judge: the test `test` must name the file."""

    def check(path: Path) -> None:
        assert f'"{path.name}"' in (ROOT / "tests" / test).read_text(encoding="utf-8"), f"{test} does not name it"

    return check


def check_of(path: Path) -> Callable[[Path], None]:
    """The check that a file of this kind must pass."""
    if path.parent == CASES:
        return is_tried_by("e2e/test_configurations.py")
    document = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))))
    if isinstance(document, list):
        return check_demo_endpoints
    keys = set(document) if isinstance(document, dict) else set()
    checks = {
        "model_list": check_proxy_config,
        "services": check_compose,
        "prompts": check_workload,
        "items": check_suite,
        "people": check_patterns,
        "kind": check_kubernetes,
        "scrape_configs": is_tried_by("e2e/test_observability.py"),
        "groups": is_tried_by("e2e/test_observability.py"),
        "tests": is_tried_by("e2e/test_observability.py"),
        "providers": is_tried_by("project/test_dashboards.py"),
        "datasources": is_tried_by("project/test_dashboards.py"),
    }
    for key, check in checks.items():
        if key in keys:
            return check
    raise AssertionError(
        f"{path.name}: no check knows a file with the keys {sorted(map(str, keys))}; add one to check_of() so that it "
        "cannot rot"
    )


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_file_is_accepted_by_what_reads_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    check_of(path)(path)


def test_the_files_that_users_start_from_are_among_them() -> None:
    shipped = {"litellm_config.yaml", "docker-compose.yml", "benchmark/slo_bench/workloads/default.yaml"}
    assert shipped <= {str(path.relative_to(ROOT)) for path in yaml_files()}


def test_a_yaml_file_that_no_check_claims_is_named(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("alerts: []")
    with pytest.raises(AssertionError, match=r"^new.yaml: no check knows a file with the keys \['alerts'\]; add one"):
        check_of(tmp_path / "new.yaml")


@pytest.mark.parametrize(
    ("text", "check", "message"),
    [
        ("services: {redis: {image: redis, imagee: redis}}", check_compose, "'imagee' was unexpected"),
        ("prompts: [{category: ner}]", lambda path: parse_workload(path.read_text(), path.name), "messages: missing"),
    ],
)
def test_the_checks_see_a_fault(tmp_path: Path, text: str, check: Callable[[Path], None], message: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises((AssertionError, ValueError), match=message):
        check(tmp_path / "wrong.yaml")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "ttft_ms: 800",
            "ttft: 800",
            f"{GROUPS}.smart.slo.ttft: unknown key, expected one of ttft_ms, tpot_ms, e2e_ms, cost_per_1k",
        ),
        (
            "      id: claude-opus\n",
            "      id:\n",
            "model_list[2].model_info.id: empty, expected a name, or no such line: LiteLLM then makes one that lasts",
        ),
        (
            "    groups:\n      smart:",
            "    groups:\n      smrat:",
            f"{GROUPS}.smrat: no such group, expected a model_name of model_list: ['embeddings', 'smart']",
        ),
        (
            "quality: 0.95",
            "quality: 95",
            "model_list[2].model_info.slo_router.quality.default: 95, expected less than or equal to 1",
        ),
    ],
    ids=["a misspelt key", "an empty id", "a misspelt group", "quality in percent"],
)
def test_a_typical_mistake_in_the_shipped_configuration_is_named_in_one_line(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "litellm_config.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path / "litellm_config.yaml")
    assert str(error.value) == message


def with_every_option(text: str) -> str:
    """The shipped configuration with its commented settings (`#name: value`) switched on."""
    return re.sub(r"^( *)#(?=[a-z0-9_]+:)", r"\1", text, flags=re.MULTILINE)


def sections() -> Iterator[tuple[type[BaseModel], Mapping[str, object]]]:
    """Each section of the plugin's configuration with the shipped file's settings, also commented ones."""
    document = yaml.safe_load(with_every_option(CONFIG.read_text(encoding="utf-8")))
    plugin = document["callback_settings"]["slo_router"]
    group = plugin["groups"]["smart"]
    yield from (
        (PluginSettings, plugin),
        (GroupSettings, group),
        (SloSettings, group["slo"]),
        (RescueSettings, group["rescue"]),
        (LogSettings, plugin["log"]),
        (MetricSettings, plugin["metrics"]),
    )
    yield ModelFacts, document["model_list"][0]["model_info"]["slo_router"]


@pytest.mark.parametrize(("objective", "foreign"), [("weighted", "target"), ("value", "weights"), ("cheapest", "")])
def test_every_commented_option_is_valid(objective: str, foreign: str, tmp_path: Path) -> None:
    """But for what belongs to another objective."""
    lines = with_every_option(CONFIG.read_text(encoding="utf-8")).splitlines()
    only = [line for line in lines if not re.match(rf" *({foreign or 'weights|target'}):", line)]
    text = "\n".join(only).replace("objective: cheapest", f"objective: {objective}")
    (tmp_path / "all.yaml").write_text(text, encoding="utf-8")
    assert load_settings(tmp_path / "all.yaml").plugin.groups["smart"].objective == objective


def test_the_shipped_configuration_shows_every_option_there_is() -> None:
    for model, shown in sections():
        assert set(shown) == set(model.model_fields), model.__name__


def dumped(default: object) -> object:
    return default.model_dump() if isinstance(default, BaseModel) else default


def test_a_commented_option_shows_its_default() -> None:
    commented = set(re.findall(r"^ *#([a-z_]+):", CONFIG.read_text(encoding="utf-8"), flags=re.MULTILINE))
    differing = {
        name: (shown[name], default)
        for model, shown in sections()
        for name, field in model.model_fields.items()
        if name in commented and (default := dumped(field.default)) not in (None, {}) and shown[name] != default
    }
    assert differing == {}
