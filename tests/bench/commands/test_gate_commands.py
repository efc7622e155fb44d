"""The gate as a user sees it: after a drop the command exits with 3 and holds the deployment until accepted or good."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from slo_bench.cli import app
from slo_bench.gate.latency import latency_entry, slowdowns
from slo_bench.gate.overview import sparkline
from slo_bench.load.plan import Cell, Limits
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize
from slo_router.contract.keys import metrics_key
from slo_router.contract.model import Facts
from tests.bench.commands.oracle import Body, Oracle, asked, oracle

ITEMS = 25
KEY = metrics_key("", "small", "ner")
Slo = Callable[..., Result]


def right(body: Body) -> str:
    return asked(body)


def wrong_below(limit: int) -> Callable[[Body], str]:
    return lambda body: "none" if int(asked(body)) < limit else asked(body)


@pytest.fixture
def server() -> Oracle:  # type: ignore[misc]
    with oracle(right) as running:
        yield running


@pytest.fixture
def slo_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str, server: Oracle) -> Slo:
    """Runs the program with a configuration of one deployment, `small`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parameters = {"model": "openai/small", "api_base": server.api_base, "api_key": "none"}
    entry = {"model_name": "smart", "litellm_params": parameters, "model_info": {"id": "small"}}
    plugin = {"groups": {"smart": {}}, "redis_url": valkey_url}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model_list": [entry], "callback_settings": {"slo_router": plugin}}))
    items = [
        {
            "id": f"item-{number}",
            "category": "ner",
            "max_tokens": 8,
            "messages": [{"role": "user", "content": str(number)}],
            "grader": {"type": "numeric", "expected": number},
        }
        for number in range(ITEMS)
    ]
    suite = tmp_path / "suite.jsonl"
    suite.write_text("\n".join(map(json.dumps, items)))

    def call(command: str, *arguments: str) -> Result:
        more = ["--suite", str(suite), "--no-cache"] if command == "quality" else []
        result = CliRunner().invoke(app, [command, *arguments, "--config", str(config), *more])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


def test_a_drop_holds_the_deployment_until_a_good_run(slo_bench: Slo, server: Oracle, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url, decode_responses=True) as link:
        assert slo_bench("quality").exit_code == 0
        server.says = wrong_below(10)
        fallen = slo_bench("quality")
        assert fallen.exit_code == 3
        assert "ALERT small ner: quality_score 1 → 0.6 (-0.4" in fallen.stderr
        assert link.hmget(KEY, "quality_score", "quality_held") == ["0.6", "1"]
        asked_before = len(server.bodies)
        again = slo_bench("quality", "--json")  # the bad run did not become the baseline
        assert again.exit_code == 3
        assert json.loads(again.stdout)["results"][0]["verdict"] == "regressed"
        assert len(server.bodies) == asked_before + ITEMS
        server.says = right
        assert slo_bench("quality").exit_code == 0
        assert link.hmget(KEY, "quality_score", "quality_held") == ["1", None]
    alerts = json.loads(slo_bench("history", "--alerts", "--json").stdout)
    assert [(alert["before"], alert["after"]) for alert in alerts] == [(1.0, 0.6)] * 2
    rows = json.loads(slo_bench("compare", "small@1", "small", "--json").stdout)
    assert [(row["figure"], row["n"], row["told_apart"]) for row in rows] == [("quality_score", "25 items", True)]


def test_the_operator_may_accept_a_drop(slo_bench: Slo, server: Oracle, valkey_url: str) -> None:
    slo_bench("quality")
    server.says = wrong_below(10)
    slo_bench("quality")
    accepted = slo_bench("history", "--accept", "small", "--categories", "ner")
    assert (accepted.exit_code, accepted.stderr) == (0, "small ner: 0.600 is the new baseline\n")
    with redis.Redis.from_url(valkey_url, decode_responses=True) as link:
        assert link.hget(KEY, "quality_held") is None
    assert slo_bench("quality").exit_code == 0
    assert slo_bench("history", "--accept", "large").exit_code == 2


def test_an_allowance_lets_a_drop_pass(slo_bench: Slo, server: Oracle) -> None:
    slo_bench("quality")
    server.says = wrong_below(10)
    assert slo_bench("quality", "--allow-drop", "0.45").exit_code == 0


def test_a_doubtful_drop_is_asked_again(slo_bench: Slo, server: Oracle) -> None:
    """Three of 25 items fell: p = 0.1. Their second answers are right."""
    slo_bench("quality")
    asked_before = len(server.bodies)
    server.says = lambda body: wrong_below(2)(body) if len(server.bodies) <= asked_before + ITEMS else asked(body)
    found = json.loads(slo_bench("quality", "--json").stdout)
    assert found["requests_sent"] > ITEMS
    assert found["results"][0]["verdict"] == "good"
    assert found["results"][0]["scores"]["item-0"] >= 0.5


def test_the_history_is_shown_and_exported(slo_bench: Slo, server: Oracle, tmp_path: Path) -> None:
    assert slo_bench("history", "--export", str(tmp_path / "none.csv")).exit_code == 2
    slo_bench("quality")
    server.says = wrong_below(10)
    slo_bench("quality")
    shown = slo_bench("history").stdout
    assert all(text in shown for text in ("small", "quality_score", "0.6", "↓", "█▁", "regressed"))
    for name in ("runs.csv", "runs.parquet"):
        assert slo_bench("history", "--export", str(tmp_path / name)).exit_code == 0
    with (tmp_path / "runs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "runs.parquet").to_pylist()
    assert [row["quality_score"] for row in table] == [1.0, 0.6] == [float(row["quality_score"]) for row in rows]
    assert (
        json.loads(table[1]["scores"])
        == json.loads(rows[1]["scores"])
        == {f"item-{number}": float(number >= 10) for number in range(ITEMS)}
    )
    assert slo_bench("history", "--export", str(tmp_path / "runs.xlsx")).exit_code == 2


@pytest.mark.parametrize("name", ["large", "small@9", "small@soon", "small@2001-01-01"])
def test_a_run_that_is_not_there_is_named(slo_bench: Slo, name: str) -> None:
    slo_bench("quality")
    result = slo_bench("compare", name, "small")
    assert (result.exit_code, name in result.stderr) == (2, True)


# --- latency


def measured(*e2e_s: float, failed: int = 0, at_s: float = 1.0) -> CellResult:
    facts = Facts("small", "openai/small")
    samples = [Sample(value / 10, value, 100, 5) for value in e2e_s] + [Sample(error="timeout")] * failed
    return CellResult(Cell(facts, Target("small", "small", "http://gpu/v1"), "ner", ()), summarize(samples, 2.0), at_s)


def test_a_slowdown_beyond_chance_is_a_warning() -> None:
    quick, slow = measured(*[1.0, 1.1, 0.9] * 5), measured(*[1.5, 1.6, 1.4] * 5, failed=8, at_s=2.0)
    before, after = latency_entry(quick, Limits()), latency_entry(slow, Limits())
    found = slowdowns(before, after)
    assert [alert.figure for alert in found] == ["ttft_mean_s", "tpot_mean_s", "e2e_mean_s", "error_rate"]
    assert (found[2].before, found[2].after) == pytest.approx((1.0, 1.5))
    assert slowdowns(after, before) == []
    assert slowdowns(before, latency_entry(slow, Limits(concurrency=9))) == []  # another load


def test_a_sparkline_spans_what_was_measured() -> None:
    assert sparkline([0.0, None, 1.0, 0.5]) == "▁·█▅"
    assert (sparkline([0.5, 0.5]), sparkline([None])) == ("▅▅", "")
