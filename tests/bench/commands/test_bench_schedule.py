"""`slo-bench schedule`: cron and Kubernetes accept what it prints, and the shipped manifest has the same."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner, Result

from slo_bench.cli import app
from slo_bench.commands.cron import Job, check_cron, crontab_line, variables_of
from slo_bench.errors import BenchError
from tests.shared.repository import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
CONFIG = str(KUBERNETES / "litellm_config.yaml")


def schedule(*words: str) -> Result:
    return CliRunner().invoke(app, ["schedule", *words])


def test_the_shipped_manifest_is_what_it_prints() -> None:
    words = (
        "run",
        "--config",
        CONFIG,
        "--via-proxy",
        "http://litellm:4000",
        "--max-minutes",
        "30",
        "--budget-usd",
        "5",
    )
    printed = yaml.safe_load(schedule("--cron", "17 */6 * * *", "--kind", "kubernetes", *words).stdout)
    shipped = yaml.safe_load((KUBERNETES / "benchmark.yaml").read_text(encoding="utf-8"))
    assert printed == shipped


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_it(version: str) -> None:
    words = ("--image", "registry.example/slo:1.2", "run", "--config", CONFIG, "--max-minutes", "45")
    manifest = yaml.safe_load(schedule("--cron", "0 2 * * 1-5", "--kind", "kubernetes", *words).stdout)
    kubernetes_validate.validate(manifest, version, strict=True)
    job = manifest["spec"]["jobTemplate"]["spec"]
    assert job["activeDeadlineSeconds"] == 45 * 60 + 600
    container = job["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example/slo:1.2"
    variables = [one["name"] for one in container["env"] if "valueFrom" in one]
    assert variables == ["OPENAI_API_KEY", "REDIS_URL"]  # without the proxy the deployments' own keys


def test_cron_takes_it(tmp_path: Path) -> None:
    printed = schedule("--cron", "0  2 * * *", "run", "--config", CONFIG, "--budget-usd", "2").stdout
    comment, line = printed.splitlines()
    assert comment == "# needs OPENAI_API_KEY, REDIS_URL: put NAME=value above"
    assert line.startswith(f"0 2 * * * cd {shlex.quote(str(Path.cwd()))} && ")
    assert line.endswith(f"run --config {CONFIG} --budget-usd 2 >>slo-bench.log 2>&1")
    odd = crontab_line(Job("* * * * *", ["it's", "100 %"], 1.0), "echo", str(tmp_path))
    command = odd.removeprefix("* * * * * ").replace(r"\%", "%")  # as cron does
    subprocess.run(["sh", "-c", command], check=True)
    assert (tmp_path / "slo-bench.log").read_text() == "it's 100 %\n"
    assert "%" not in odd.replace(r"\%", "")


@pytest.mark.parametrize("cron", ["* * * * *", "0 2 * * *", "17 */6 * * *", "0,30 8-18/2 1-15 1,7 1-5", "5 4 31 12 7"])
def test_times_that_cron_knows(cron: str) -> None:
    assert check_cron(cron) == cron


@pytest.mark.parametrize(
    "cron", ["", "0 2 * *", "0 2 * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "5-1 * * * *", "*/0 * * * *", "@x"]
)
def test_times_that_it_does_not(cron: str) -> None:
    with pytest.raises(BenchError, match="--cron: "):
        check_cron(cron)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("walk",), "'walk' is no command that can be scheduled, expected one of run"),
        (("schedule", "run"), "'schedule' is no command"),
        (("run", "--config", CONFIG, "--budget", "2"), "No such option: --budget"),
        (("run", "--config", CONFIG, "--max-minutes", "soon"), "Invalid value for '--max-minutes'"),
        (("run", "--config", "missing.yaml"), "missing.yaml: No such file"),
        (("run", "--config", CONFIG, "--proxy-key=sk-1"), "--proxy-key: it would be readable"),
    ],
)
def test_a_command_that_would_fail_every_night_fails_now(words: tuple[str, ...], message: str) -> None:
    result = schedule("--cron", "0 2 * * *", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_without_an_id_or_a_redis_of_its_own_the_agent_needs_what_litellm_takes_them_from() -> None:
    document = {
        "model_list": [
            {"model_name": "smart", "litellm_params": {"model": "os.environ/MODEL", "api_key": "os.environ/KEY"}},
            {"model_name": "plain", "litellm_params": {"model": "os.environ/OTHER", "api_key": "os.environ/PLAIN"}},
        ],
        "litellm_settings": {"cache_params": {"host": "os.environ/HOST"}},
        "router_settings": {"redis_password": "os.environ/PASSWORD", "x": "os.environ/NO"},
        "callback_settings": {"slo_router": {"key_prefix": "os.environ/PREFIX", "groups": {"smart": {}}}},
    }
    assert variables_of(document, via_proxy=True) == [
        *("LITELLM_MASTER_KEY", "MODEL", "KEY", "PREFIX", "HOST", "PASSWORD"),
    ]
