"""Every panel's expression and every alert's rule returns data on a real Prometheus, which scrapes real workers.

Two workers write their metrics into files, as LiteLLM's workers do, and the metrics are served as LiteLLM serves them.
The configuration is the committed one with other targets and shorter intervals.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from evaluation.emulator import EndpointSpec, running_endpoints
from tests.e2e.prometheus import Prometheus, program
from tests.shared.needed import needed
from tests.shared.repository import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
GRAFANA = {"$__rate_interval": "1m", "$__range": "1m", "$group": ".*"}  # what Grafana inserts; `.*` is All
WITHIN_S = 120.0


def panel_expressions() -> list[tuple[str, str]]:
    """The panels of the committed dashboards, each with its expression."""
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]


def rules() -> list[dict[str, str]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool() -> str:
    with needed():
        return program("promtool")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with needed():
        program("prometheus")
    directory = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as stack:
        port = stack.enter_context(_served_workers(tmp_path_factory.mktemp("multiproc")))
        spec = EndpointSpec(name="small", ttft_ms=5, tpot_ms=1, output_tokens=24)
        (endpoint,) = stack.enter_context(running_endpoints([spec]))
        configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
        configuration["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(RULES)]
        litellm, vllm = configuration["scrape_configs"]
        litellm["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        del litellm["authorization"], vllm["dns_sd_configs"], vllm["relabel_configs"]
        vllm["static_configs"] = [{"targets": [endpoint.url.removeprefix("http://")]}]
        yield stack.enter_context(Prometheus(configuration, directory))


@pytest.mark.parametrize(("panel", "expression"), panel_expressions())
def test_a_panel_shows_data(prometheus: Prometheus, panel: str, expression: str) -> None:
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, panel
    assert _finite(prometheus, expression), f"{panel}: no data from {expression}"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.get("alert") or rule["record"]))
def test_a_rule_finds_what_it_looks_for(prometheus: Prometheus, rule: dict[str, str]) -> None:
    assert _finite(prometheus, rule["expr"]), f"no data from {rule['expr']}"


def test_prometheus_itself_evaluates_every_rule_and_raises_every_alert(prometheus: Prometheus) -> None:
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    deadline_s = time.monotonic() + WITHIN_S
    while _raised(prometheus) != names and time.monotonic() < deadline_s:
        time.sleep(0.5)
    assert _raised(prometheus) == names  # pending, because alerts wait before they fire
    groups = prometheus.get("rules")["groups"]
    assert isinstance(groups, list)
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(health.values()) == {"ok"}, health


def test_two_workers_are_one_scrape(prometheus: Prometheus) -> None:
    assert _finite(prometheus, 'count(slo_router_slo_total{met="false"})') == [1]
    assert _finite(prometheus, 'sum(slo_router_in_flight_requests{source="own"})') == [2]  # one for each worker


def test_the_alerts_fire_and_stay_silent_on_samples_worked_out_by_hand(promtool: str) -> None:
    _run(promtool, "test", "rules", str(RULES.with_name("alerts_test.yml")))


def test_promtool_finds_no_fault_in_rules_and_configuration(promtool: str) -> None:
    _run(promtool, "check", "rules", str(RULES))
    _run(promtool, "check", "config", "--syntax-only", str(CONFIGURATION))


@contextmanager
def _served_workers(directory: Path) -> Iterator[int]:
    """The port on which two workers' metrics are served."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    command = [sys.executable, "-m", "tests.e2e.telemetry_worker"]
    workers = [subprocess.Popen(command, env=environment, cwd=ROOT) for _ in range(2)]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        _close(server, thread)


def _close(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


def _finite(prometheus: Prometheus, expression: str) -> list[float]:
    """The values, once there are any. A rate needs two scrapes."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        found = [value for _, value in prometheus.query(expression) if math.isfinite(value)]
        if found or time.monotonic() > deadline_s:
            return found
        time.sleep(0.5)


def _raised(prometheus: Prometheus) -> set[str]:
    alerts = prometheus.get("alerts")["alerts"]
    assert isinstance(alerts, list)
    return {alert["labels"]["alertname"] for alert in alerts}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
