"""`slo-router report` on files and a real Redis: tables, JSON, CSV and HTML show the same, and a problem is named."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics
from slo_router.operator.cli import app
from tests.shared.builders import NOW_S, decided, measured
from tests.shared.record_builders import LARGE, SMALL, line_of, write_config

RUNNER = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two requests to `small`, each for 0.0005 USD instead of 0.005, and a broken line. One kept its SLO."""
    lines = [line_of(ts=time.time() - 7_200), line_of(ts=time.time() - 30, slo_met=False, team_id="=1+1"), "{"]
    (tmp_path / "r.1.jsonl").write_text("\n".join(lines))
    return tmp_path / "r.jsonl"


def run(tmp_path: Path, *arguments: object, plugin: dict[str, object] | None = None) -> tuple[int, str, str]:
    config = write_config(tmp_path / "config.yaml", plugin)
    done = RUNNER.invoke(app, ["report", "--config", str(config), *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_tables_say_what_was_saved_kept_and_broken(tmp_path: Path, log: Path) -> None:
    code, out, _ = run(tmp_path, "--log", log)
    assert code == 0
    for text in ("2 requests", "spent $0.0010000", "$0.0100", "90.0 %", "50.0 %", "small", "ner", "1 of 3 lines"):
        assert text in out, out


def test_json_is_the_whole_report(tmp_path: Path, log: Path) -> None:
    _, out, _ = run(tmp_path, "--log", log, "--json")
    report = json.loads(out)
    assert report["total"]["saved_share"] == pytest.approx(0.9)
    assert report["total"]["attainment"] == 0.5
    assert (report["lines_read"], report["lines_broken"]) == (3, 1)
    assert [row["name"] for row in report["teams"]] == ["=1+1", "blue"]


def test_the_baseline_costs_what_litellm_would_have_billed(tmp_path: Path, log: Path) -> None:
    added = {"cost_margin_config": {"global": {"percentage": 1.0, "fixed_amount": 0.001}}}
    config = write_config(tmp_path / "config.yaml", litellm=added)
    done = RUNNER.invoke(app, ["report", "--config", str(config), "--log", str(log), "--json"])
    total = json.loads(done.stdout)["total"]
    assert (total["spent_usd"], total["baseline_usd"]) == (pytest.approx(0.001), pytest.approx(2 * 0.011))


def test_csv_and_html_are_written_and_a_spreadsheet_runs_nothing(tmp_path: Path, log: Path) -> None:
    code, _, err = run(tmp_path, "--log", log, "--csv", tmp_path / "r.csv", "--html", tmp_path / "r.html")
    assert code == 0
    assert "r.html" in err
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [(row["by"], row["name"]) for row in rows] == [
        ("total", "all"),
        ("deployment", "small"),
        ("category", "ner"),
        ("team", "'=1+1"),
        ("team", "blue"),
    ]
    assert float(rows[0]["saved_usd"]) == pytest.approx(0.009)
    assert "90.0 %" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("option", ["--html", "--csv"])
def test_a_file_that_cannot_be_written_is_named_and_the_report_shown(tmp_path: Path, log: Path, option: str) -> None:
    code, out, err = run(tmp_path, "--log", log, option, tmp_path / "nowhere" / "r")
    assert code == 1
    assert "spent $0.0010000" in out
    assert err == f"{tmp_path}/nowhere/r: No such file or directory, expected a path to write to\n"


def test_an_output_that_lacks_a_character_gets_a_question_mark(tmp_path: Path, log: Path) -> None:
    config = write_config(tmp_path / "config.yaml")
    words = ["report", "--config", str(config), "--log", str(log), "--html", str(tmp_path / "nowhere–" / "r")]
    command = [sys.executable, "-c", "from slo_router.operator.cli import app; app()", *words]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, check=False, env=ascii_only, capture_output=True, text=True)
    assert "2 requests" in done.stdout
    assert "nowhere?/r: No such file" in done.stderr


def test_a_baseline_a_team_and_a_time_can_be_asked_for(tmp_path: Path, log: Path) -> None:
    _, out, _ = run(tmp_path, "--log", log, "--json", "--baseline", "small", "--team", "blue")
    assert json.loads(out)["total"]["saved_usd"] == 0
    assert json.loads(out)["total"]["requests"] == 1
    _, out, _ = run(tmp_path, "--log", log, "--json", "--since", "1h")
    assert json.loads(out)["total"]["requests"] == 1


def test_the_stream_is_read_where_redis_is_configured_with_the_measured_qualities(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    client.xadd("team:slo_router:requests", {"record": line_of(ts=time.time())})
    measured = write_metrics(Metrics(time.time(), 0.1, quality_score=0.8, quality_n=100))
    client.hset("team:metrics:small:ner", mapping=measured)  # type: ignore[arg-type]
    code, out, _ = run(tmp_path, plugin={"redis_url": server.url, "key_prefix": "team:"})
    assert code == 0
    assert "1 requests" in out
    assert "0.800 (100 answers, 71.1 to 86.7 %)" in out


def test_quality_is_shown_with_the_bound_that_the_floor_was_held_against(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    """A record's bound comes before the present belief. The belief counts if the record has no bound."""
    graded = measured(small=Metrics(NOW_S, 0.1, quality_score=0.9, quality_n=1_000))
    decision = decided([SMALL, LARGE], snapshot=graded, is_judged=True)
    (small,) = (one.prediction for one in decision.assessments if one.deployment_id == "small")
    told = line_of(decision, ts=time.time())
    untold = json.loads(line_of(ts=time.time(), category="code"))
    for candidate in untold["decision"]["candidates"]:
        del candidate["predicted"]["quality_bound"]  # an older version wrote it
    log = tmp_path / "r.1.jsonl"
    log.write_text(f"{told}\n{json.dumps(untold)}\n")
    for category in ("ner", "code"):
        now = write_metrics(Metrics(time.time(), 0.1, quality_score=0.5, quality_n=200, quality_at_s=time.time()))
        client.hset(f"metrics:small:{category}", mapping=now)  # type: ignore[arg-type]
    config = write_config(tmp_path / "config.yaml", {"redis_url": server.url})
    words = ["report", "--config", str(config), "--log", str(tmp_path / "r.jsonl"), "--html", str(tmp_path / "r.html")]
    found = json.loads(RUNNER.invoke(app, [*words, "--json"]).stdout)
    ner, code = sorted(found["quality"], key=lambda row: row["category"], reverse=True)
    assert (ner["mean"], ner["bound"]) == (pytest.approx(small.quality), pytest.approx(small.quality_bound))
    assert (ner["is_recorded"], code["is_recorded"]) == (True, False)
    assert code["bound"] < code["mean"] < 0.6
    assert found["total"]["quality_bound"] == pytest.approx(small.quality_bound)  # of those that say one
    out = RUNNER.invoke(app, words).stdout
    bound = f"{small.quality_bound:.3f}"
    assert "min_quality is held against" in out
    for text in (out, (tmp_path / "r.html").read_text()):
        assert bound in text
        assert "at least" in text


def test_a_full_stream_that_starts_too_late_is_told(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    client.xadd("slo_router:requests", {"record": line_of(ts=time.time())})
    _, out, err = run(tmp_path, "--json", plugin={"redis_url": server.url, "log": {"stream_maxlen": 1}})
    assert json.loads(out)["total"]["requests"] == 1
    assert "the stream is full and starts at" in err
    _, _, err = run(tmp_path, "--json", plugin={"redis_url": server.url, "log": {"stream_maxlen": 2}})
    assert err == ""


def test_what_redis_says_is_named_and_no_address(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    client.set("slo_router:requests", "another program's")
    code, _, err = run(tmp_path, plugin={"redis_url": server.url})
    assert (code, err) == (1, "Redis at redis://…/0: ResponseError WRONGTYPE, expected a server that answers\n")


def test_the_files_do_where_redis_is_away(tmp_path: Path, log: Path) -> None:
    code, out, err = run(tmp_path, "--log", log, "--json", plugin={"redis_url": "redis://127.0.0.1:1"})
    assert code == 0
    assert json.loads(out)["total"]["requests"] == 2
    assert "measured qualities are not shown: Redis at redis://…/0" in err


def test_the_yaml_may_name_the_files(tmp_path: Path, log: Path) -> None:
    _, out, _ = run(tmp_path, "--json", plugin={"log": {"jsonl_path": str(log)}})
    assert json.loads(out)["total"]["requests"] == 2


@pytest.mark.parametrize(
    ("arguments", "plugin", "message"),
    [
        ([], None, "no records: expected redis_url or log.jsonl_path in the YAML, or --log FILE"),
        ([], {"redis_url": "redis://127.0.0.1:1"}, "expected a server that answers"),
        (["--since", "soon"], None, "since: 'soon', expected"),
        (["--baseline", "gpt"], None, "baseline: 'gpt', expected a deployment id: small, large"),
        (["--log", "nowhere.jsonl"], None, "nowhere.jsonl: no such file"),
    ],
)
def test_a_problem_is_named_and_ends_with_1(
    tmp_path: Path, arguments: list[str], plugin: dict[str, object] | None, message: str
) -> None:
    code, out, err = run(tmp_path, *arguments, plugin=plugin)
    assert (code, out) == (1, "")
    assert message in err


def test_no_request_is_said(tmp_path: Path, log: Path) -> None:
    code, out, _ = run(tmp_path, "--log", log, "--team", "none")
    assert (code, out.strip()) == (0, "no request in 3 lines (1 broken)")
