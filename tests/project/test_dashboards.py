"""Dashboards and alerts fit the code that makes them, the existing metrics, Compose and the runbook.

tests/e2e/test_observability.py checks on a real Prometheus that they return data.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml
from deploy.grafana.generate import DIRECTORY, files
from deploy.grafana.panels import BOARDS
from prometheus_client import CollectorRegistry

from slo_router.telemetry.telemetry import Telemetry
from tests.shared.repository import ROOT

PROMETHEUS, PROVISIONING = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana" / "provisioning"
ALERTS = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
ANCHORS = {
    "p95-over-slo", "largest-model-share", "snapshot-stale", "attainment-burn", "cost-burn", "circuit-open",
    "account-fault", "rescue-budget", "fail-open", "log-drops", "job-stuck",
    "out-of-action",
}  # fmt: skip
METRIC = re.compile(r"\b(?:slo_router|model_routing)_[a-z0-9_]+(?=[{\[) ]|$)")


def metrics() -> set[str]:
    """The name of every series that the plugin can export."""
    registry = CollectorRegistry()
    Telemetry({}, registry, 0.0, label_teams=1, label_keys=1)
    suffixes = {
        "counter": ["_total"],
        "gauge": [""],
        "histogram": ["_bucket", "_sum", "_count"],
        "summary": ["_sum", "_count"],
    }
    return {family.name + suffix for family in registry.collect() for suffix in suffixes[family.type]}


def expressions() -> list[str]:
    panels = [panel for board in BOARDS for row in board.rows.values() for panel in row]
    rules = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    return [query.expr for panel in panels for query in panel.queries] + [rule["expr"] for rule in rules]


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    made = files()
    assert set(DIRECTORY.glob("*.json")) == set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"run `python -m deploy.grafana.generate` for {path.name}"


def test_a_panel_says_what_it_shows_and_has_a_name_of_its_own() -> None:
    for board in BOARDS:
        panels = [panel for row in board.rows.values() for panel in row]
        assert len({panel.title for panel in panels}) == len(panels), board.title
        assert all(panel.description.endswith(".") for panel in panels), board.title


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_metrics_that_there_are(expression: str) -> None:
    assert set(METRIC.findall(expression)) <= metrics()


def test_no_metric_is_exported_that_no_panel_and_no_alert_shows() -> None:
    shown = {name for expression in expressions() for name in METRIC.findall(expression)}
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in metrics()}
    unseen = families - {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown}
    assert unseen == {"slo_router_key_slo", "slo_router_key_cost_usd"}  # like the teams' metrics, one for each key


def test_every_alert_has_a_runbook() -> None:
    assert set(re.findall(r"runbook_url: docs/operations\.md#([a-z0-9-]+)$", ALERTS, flags=re.MULTILINE)) == ANCHORS
    assert ALERTS.count("runbook_url") == ALERTS.count("- alert:")


def test_grafana_finds_the_dashboards_and_prometheus_where_compose_puts_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    provider = yaml.safe_load((PROVISIONING / "dashboards" / "slo-router.yml").read_text(encoding="utf-8"))
    source = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))
    path = provider["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{path}:ro" in services["grafana"]["volumes"]
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert "prometheus" in services


def test_the_dashboards_let_the_viewer_choose_groups_and_data_source() -> None:
    for path in files():
        variables = json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]
        assert [variable["name"] for variable in variables] == ["datasource", "group"]
