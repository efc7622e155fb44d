"""`status`, `report` and the page say that the mix of tasks has changed, and which deployment's quality fell."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.ages import DAY_S
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics
from slo_router.operator.cli import app
from slo_router.operator.page.access import Access
from slo_router.operator.page.app import make_app
from slo_router.operator.page.reading import Source
from tests.shared.record_builders import line_of, write_config

RUNNER = CliRunner(env={"COLUMNS": "250", "TERM": "dumb"})
EARLIER = ["ner", "ner", "ner", "code"]  # repeated
LATER = ["ner", "code", "code", "code"]
TOKEN = "a token of enough characters"


def serve(client: redis.Redis, categories: Sequence[str]) -> None:
    """Writes one record for each second; the last one is now."""
    now_s, pipeline = time.time(), client.pipeline(transaction=False)
    for number, category in enumerate(categories):
        at_s = now_s - len(categories) + number
        pipeline.xadd("slo_router:requests", {"record": line_of(ts=at_s, category=category)})
    pipeline.execute()


def rate(client: redis.Redis, share_by_day: Sequence[float]) -> None:
    """Writes 100 ratings a day for `small` in `ner`; the last ones are today."""
    for ago, share in enumerate(reversed(share_by_day)):
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago * DAY_S))
        fed = {"small:ner:answers": "100", "small:ner:score": str(100 * share), "small:ner:seconds": "0"}
        client.hset("slo_router:feedback", day, "100")
        client.hset(f"slo_router:feedback:{day}", mapping=fed)  # type: ignore[arg-type]


def told(command: str, config: Path) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """What a command prints, and its `--json`."""
    shown = RUNNER.invoke(app, [command, "--config", str(config)])
    assert shown.exit_code == 0, shown.output
    found = json.loads(RUNNER.invoke(app, [command, "--config", str(config), "--json"]).stdout)
    return " ".join(shown.stdout.split()), found["drift"]


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_changed_mix_of_tasks_is_told(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis, command: str
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    serve(client, EARLIER * 250)
    assert told(command, config)[1] == {"mix": [], "falls": []}
    client.delete("slo_router:requests")
    serve(client, EARLIER * 125 + LATER * 125)
    shown, drift = told(command, config)
    assert re.search(r"smart: the last \d+ requests have another mix of tasks than those before, by more", shown), shown
    (found,) = drift["mix"]
    assert found["requests"] == pytest.approx(500, abs=30)
    code, ner = found["changes"]
    assert code == {"category": "code", "before": pytest.approx(0.25, abs=0.04), "after": pytest.approx(0.75, abs=0.04)}
    assert (ner["before"], ner["after"]) == (pytest.approx(0.75, abs=0.04), pytest.approx(0.25, abs=0.04))
    assert f"code {code['before']:.1%} to {code['after']:.1%}, ner {ner['before']:.1%} to {ner['after']:.1%}" in shown


def test_a_quality_that_fell_is_told_with_its_bound_lowered(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "feedback": True})
    rate(client, [0.8] * 15)
    assert told("status", config)[1]["falls"] == []
    before = bound_of(config)
    rate(client, [0.8] * 10 + [0.5] * 5)
    shown, drift = told("status", config)
    day = time.strftime("%Y-%m", time.gmtime(time.time() - 4 * DAY_S))
    assert f"small, ner: quality fell about {day}" in shown
    (found,) = drift["falls"]
    assert (found["deployment"], found["category"]) == ("small", "ner")
    assert bound_of(config) < before - 0.1
    serve(client, ["ner"])
    assert "small, ner: quality fell about" in told("report", config)[0]


def bound_of(config: Path) -> float:
    small, _ = json.loads(RUNNER.invoke(app, ["status", "--config", str(config), "--json"]).stdout)["deployments"]
    return float(small["quality"]["ner"]["bound"])


def test_a_quality_that_the_benchmarks_gate_holds_is_told(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    held = Metrics(time.time(), 0.1, quality_score=0.5, quality_n=100, quality_held=True)
    client.hset("metrics:small:ner", mapping=write_metrics(held))  # type: ignore[arg-type]
    serve(client, ["ner"])
    for command in ("status", "report"):
        shown, drift = told(command, config)
        assert "small, ner: the benchmark's score dropped, so no quality floor is passed until" in shown
        assert drift["falls"] == [{"deployment": "small", "category": "ner", "fall": None}]


def test_the_pages_say_it_too(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    serve(client, EARLIER * 125 + LATER * 125)
    words = ["report", "--config", str(config), "--html", str(tmp_path / "r.html")]
    assert RUNNER.invoke(app, words).exit_code == 0
    viewer = TestClient(make_app(Source(config), Access(TOKEN)), headers={"authorization": f"Bearer {TOKEN}"})
    for text in ((tmp_path / "r.html").read_text(encoding="utf-8"), viewer.get("/").text):
        assert "have another mix of tasks than those before" in text
