"""`slo-router check` shows what is known of each deployment, and names each problem."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import time
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics
from slo_router.contract.settings import installed
from slo_router.contract.settings.config import load_settings
from slo_router.contract.settings.group import GroupSettings, SloSettings
from slo_router.operator.cli import app
from slo_router.worker import rollout
from tests.shared.record_builders import write_config

LOOK = installed._look  # unchanged; tests/conftest.py makes other tests look in this process
RUNNER = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})


def test_it_shows_prices_quality_context_and_what_was_measured(tmp_path: Path, server: ValkeyServer) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    with redis.Redis(port=server.port) as client:
        client.hset("metrics:small:ner", mapping=write_metrics(Metrics(time.time() - 7_200, 0.1)))
        client.hset("metrics:large:ner", mapping={"timestamp": "yesterday"})
    done = RUNNER.invoke(app, ["check", str(config)])
    assert done.exit_code == 0
    for text in (
        "$1 in, $2 out per 1M tokens",
        "default 0.7",
        "32,768 tokens",
        "ner (2.0 h ago)",
        "none",
        "· large: never measured",
    ):
        assert text in done.stdout
    assert "ignoring timestamp of metrics:large:ner in Redis: 'yesterday', expected Unix seconds" in done.stderr
    shown = json.loads(RUNNER.invoke(app, ["check", str(config), "--json"]).stdout)
    qualities = {one["deployment"]: one["quality"] for one in shown["deployments"]}
    assert qualities == {"small": {"default": 0.7}, "large": {"default": 0.9}}
    assert shown["deployments"][0]["measured_age_s"]["ner"] == pytest.approx(7_200, abs=600)
    assert [gap["where"] for gap in shown["missing"]] == ["large"]


def test_a_published_policy_is_what_is_checked(tmp_path: Path, server: ValkeyServer) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "key_prefix": "p:"})
    own = load_settings(config).plugin
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.hset("p:metrics:small:ner", mapping=write_metrics(Metrics(time.time(), 0.1)))
        client.hset("p:metrics:large:ner", mapping=write_metrics(Metrics(time.time(), 0.1)))
        published = rollout.publish(client, own, {"smart": GroupSettings(slo=SloSettings(ttft_ms=20))})
    shown = json.loads(RUNNER.invoke(app, ["check", str(config), "--json"]).stdout)
    assert shown["policy"]["in_force"] == published.version
    assert shown["policy"]["notes"][1:] == ["smart.slo.ttft_ms: 20.0, was unset"]
    assert "its SLO is not expected to be kept for ner" in shown["missing"][-1]["what"]
    assert "· smart.slo.ttft_ms: 20.0, was unset" in RUNNER.invoke(app, ["check", str(config)]).stdout
    offline = json.loads(RUNNER.invoke(app, ["check", str(config), "--offline", "--json"]).stdout)
    assert offline["policy"] == {"in_force": own.policy, "notes": [], "off": []}


def test_offline_looks_at_the_file_alone(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": "redis://127.0.0.1:1"})
    done = RUNNER.invoke(app, ["check", str(config), "--offline"])
    assert done.exit_code == 0
    assert "not looked at" in done.stdout
    assert "never measured" not in done.stdout


def test_without_redis_only_the_file_is_checked(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["check", str(write_config(tmp_path / "c.yaml"))])
    assert (done.exit_code, done.stderr.strip()) == (0, "no redis_url: only the file is checked")


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (
            {"groups": {"smart": {"slo": {"ttft": 1}}}},
            "callback_settings.slo_router.groups.smart.slo.ttft: unknown key",
        ),
        ({"redis_url": "redis://127.0.0.1:1"}, "Redis at redis://…/0: ConnectionError, expected a server that answers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, plugin: dict[str, object], message: str) -> None:
    done = RUNNER.invoke(app, ["check", str(write_config(tmp_path / "c.yaml", plugin))])
    assert done.exit_code == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (
            {"router_settings": {"model_group_alias": {"other": "smart"}}},
            1,
            "✗ callback_settings.slo_router.groups.other",
        ),
        ({"general_settings": {"store_model_in_db": True}}, 0, "LiteLLM's database may add one"),
    ],
    ids=["alias", "database"],
)
def test_a_group_without_a_deployment_is_named_beside_the_others(
    tmp_path: Path, more: dict[str, object], status: int, said: str
) -> None:
    config = write_config(tmp_path / "c.yaml", {"groups": {"smart": {}, "other": {}}})
    config.write_text(json.dumps({**yaml.safe_load(config.read_text()), **more}))
    done = RUNNER.invoke(app, ["check", str(config)])
    assert (done.exit_code, said in done.stdout) == (status, True), done.output
    assert "· large: never measured" in done.stdout


def test_it_says_where_the_installed_litellms_strategy_asks_no_plugin(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml")
    settings = {"router_settings": {"routing_strategy": "usage-based-routing"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    done = RUNNER.invoke(app, ["check", str(config)])
    shown = json.loads(RUNNER.invoke(app, ["check", str(config), "--json"]).stdout)
    version = importlib.metadata.version("litellm")
    said = f"router_settings.routing_strategy: 'usage-based-routing' of LiteLLM {version} asks no plugin: it routes"
    assert done.exit_code == 1
    assert f"✗ {said}" in done.stdout
    assert (shown["litellm"], shown["broken"]) == ([said], [said])


def test_without_litellm_it_says_what_was_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "litellm" else find(name))
    done = RUNNER.invoke(app, ["check", str(write_config(tmp_path / "c.yaml"))])
    assert done.exit_code == 0
    assert "LiteLLM is not installed here" in done.stdout


def test_a_plugin_that_does_not_import_beside_the_installed_litellm_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "_look", LOOK.__wrapped__)
    monkeypatch.setattr(installed, "LOOK", "raise ImportError('no module of that name')")
    done = RUNNER.invoke(app, ["check", str(write_config(tmp_path / "c.yaml"))])
    assert done.exit_code == 1
    assert "cannot be imported beside the installed LiteLLM: ImportError: no module of that name" in done.stdout
