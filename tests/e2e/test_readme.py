"""Every code block of the README runs as it stands: commands on the shared proxy, YAML through the plugin's reader."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slo_router.contract.settings.config import load_settings
from tests.e2e.conftest import NO_CHATS, Stack
from tests.shared.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
WITHIN_S = 600.0
SHELL = [text for language, text in BLOCKS if language == "bash"]


def run(text: str, cwd: Path, **environment: str) -> str:
    """What the block prints. The first command that fails also fails the test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def block(start: str) -> str:
    (found,) = [text for text in SHELL if text.startswith(start)]
    return found


def test_there_is_no_block_that_nothing_here_runs() -> None:
    assert {language for language, _ in BLOCKS} == {"bash", "yaml"}
    assert sorted(text.split()[0] for text in SHELL) == ["curl", "make", "make", "pip", "slo-router"]


@pytest.mark.parametrize("text", [text for text in SHELL if text.startswith("make ")])
def test_a_make_target_exists(text: str) -> None:
    # A real run would start this test again, or the demo, which tests/e2e/test_demo.py runs.
    assert run(text.replace("make ", "make --dry-run "), ROOT)


def test_the_package_installs() -> None:
    only_ours = {"PIP_DRY_RUN": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
    assert "litellm-slo-router" in run(block("pip"), ROOT, **only_ours, PIP_FORCE_REINSTALL="1")


def test_the_yaml_is_a_whole_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (text,) = [text for language, text in BLOCKS if language == "yaml"]
    path = tmp_path / "litellm_config.yaml"
    path.write_text(text, encoding="utf-8")

    settings = load_settings(path)

    assert [d.facts.deployment_id for d in settings.deployments] == ["qwen-7b", "gpt-4o"]
    assert settings.deployments[1].facts.context_tokens == 128_000  # from LiteLLM's own map, as the comment says
    assert set(yaml.safe_load(text)) == {"model_list", "litellm_settings", "callback_settings"}


@pytest.mark.timeout(WITHIN_S)
def test_the_file_is_checked_and_its_deployments_measured(stack: Stack, tmp_path: Path) -> None:
    config = yaml.safe_load(stack.proxy.config_path.read_text(encoding="utf-8"))
    config["model_list"] = [one for one in config["model_list"] if one["model_name"] not in NO_CHATS]
    for group in NO_CHATS:
        del config["callback_settings"]["slo_router"]["groups"][group]
    (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    printed = run(block("slo-router"), tmp_path, COLUMNS="200")
    stack.publish()

    assert printed.count("small") >= 2  # in the check's table and in the benchmark's


def test_the_curl_line_is_answered_by_the_deployment_that_has_the_quality(stack: Stack) -> None:
    answer = run(block("curl"), ROOT, PROXY_URL=stack.proxy.url, VIRTUAL_KEY=stack.proxy.master_key)

    assert "x-slo-selected-model: large" in answer
    assert "x-slo-category: ner" in answer
