"""`slo-router status` reads what real workers publish, shows slow, shut and busy deployments, and publishes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
import redis
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics
from slo_router.contract.redis.link import connect
from slo_router.contract.settings.config import load_settings
from slo_router.contract.settings.group import GroupSettings
from slo_router.live.live import Live
from slo_router.live.picture import export
from slo_router.operator.cli import app
from slo_router.worker import rollout
from slo_router.worker.sharing import Sharing
from tests.shared.days import stay_within_a_day
from tests.shared.record_builders import line_of, write_config

RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


async def publish(url: str, *workers: Live) -> None:
    async with connect(url) as link:
        for live in workers:
            await Sharing("", 60.0).exchange(link, msgspec.json.encode(dict(export(live, time.time()))))


def busy_worker() -> Live:
    """A worker with two requests in flight to `small`; `large` failed three times in a row."""
    live = Live()
    now_s = time.time()
    for _ in range(2):
        live.dispatched("small", now_s)
    for _ in range(3):
        live.finished(live.dispatched("large", now_s), "error", now_s)
    for _ in range(20):
        flight = live.dispatched("small", now_s)
        live.finished(flight, "success", now_s, prompt_tokens=1_000, output_tokens=11, ttft_s=0.3, e2e_s=0.5)
    return live


def test_load_circuits_latency_and_shares_of_all_workers(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = float(int(time.time()))
    monkeypatch.setattr(time, "time", lambda: now_s)  # within seconds evidence fades and a circuit is tried again
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    asyncio.run(publish(server.url, busy_worker(), busy_worker()))
    client.hset("metrics:large:ner", mapping=write_metrics(Metrics(time.time() - 7_300, 0.1)))  # type: ignore[arg-type]
    client.sadd("slo_router:workers", "dead", "strange")
    client.set("slo_router:live:strange", "[1]")
    for deployment in ("small", "small", "large"):
        client.xadd("slo_router:requests", {"record": line_of(deployment=deployment, ts=time.time() - 4)})
    client.xadd("slo_router:requests", {"record": line_of(deployment="large", ts=time.time() - 4, slo_met=None)})
    before = {key: client.type(key) for key in client.keys("*")}
    found = json.loads(RUNNER.invoke(app, ["status", "--config", str(config), "--json"]).stdout)
    assert (found["workers"], found["stream_length"], found["recent"], found["recent_judged"]) == (2, 4, 4, 3)
    assert found["recent_attainment"] == 1.0
    assert 4 <= found["last_record_age_s"] < 64
    small, large = found["deployments"]
    assert small["in_flight"] == 4
    assert small["ttft_p50_ms"] == pytest.approx(300, rel=0.2)
    assert small["tpot_ms"] == pytest.approx(20, rel=0.2)
    assert small["live_samples"] == pytest.approx(40, rel=0.05)
    assert small["recent_share"] == pytest.approx(1 / 2)
    assert large["circuit"].startswith("open for")
    assert 7_300 <= large["benchmarked"]["ner"] < 7_360
    assert {key: client.type(key) for key in client.keys("*")} == before

    shown = RUNNER.invoke(app, ["status", "--config", str(config)]).stdout
    for text in (
        "2 workers, 4 records",
        "SLO kept by 100.0 % of 3 judged of the last 4",
        "open for",
        "1 categories, 2.0 h old",
    ):
        assert text in shown, shown
    assert re.search(r"(39|40) samples", shown), shown


def test_what_quality_is_worth_is_shown_as_the_workers_have_it(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    groups = {"smart": {"objective": "value", "target": {"quality_of_best": 0.95}}}
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "groups": groups})
    for name in ("one", "other"):
        client.sadd("slo_router:workers", name)
    client.set("slo_router:live:one", '{".worths": {"smart": 0.04, "gone": 1}}')
    assert json.loads(RUNNER.invoke(app, ["status", "--config", str(config), "--json"]).stdout)["worths_usd"] == {
        "smart": pytest.approx(0.04)
    }
    shown = RUNNER.invoke(app, ["status", "--config", str(config)]).stdout
    assert "smart: a quality of 1 is worth $0.0400" in shown
    client.delete("slo_router:live:one")
    shown = RUNNER.invoke(app, ["status", "--config", str(config)]).stdout
    assert "worth" not in shown


def test_qualities_are_shown_with_mean_bound_answers_and_age_where_answers_were_graded(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    stay_within_a_day(15.0)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    fed = {"small:ner:answers": "50", "small:ner:score": "40", "small:ner:seconds": "0"}
    graded = Metrics(time.time(), 0.1, quality_score=0.8, quality_n=200, quality_at_s=time.time() - 7_300)
    client.hset("metrics:small:ner", mapping=write_metrics(graded))  # type: ignore[arg-type]
    client.hset("slo_router:feedback", day, "50")
    client.hset(f"slo_router:feedback:{day}", mapping=fed)  # type: ignore[arg-type]
    on = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "feedback": True})
    small, large = json.loads(RUNNER.invoke(app, ["status", "--config", str(on), "--json"]).stdout)["deployments"]
    found = small["quality"]["ner"]
    assert large["quality"] == {}
    assert found["answers"] == {"feedback": pytest.approx(10, rel=0.05), "suite": pytest.approx(200, rel=0.01)}
    assert 0.7 < found["bound"] < found["mean"] < 0.85
    assert (found["bound_confidence"], found["typed"]) == (0.9, 0.7)
    shown = RUNNER.invoke(app, ["status", "--config", str(on)]).stdout
    for text in ("Quality, where answers were graded", "200 suite", "10 feedback", "90 %"):
        assert text in shown, shown
    off = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    small, _ = json.loads(RUNNER.invoke(app, ["status", "--config", str(off), "--json"]).stdout)["deployments"]
    assert list(small["quality"]["ner"]["answers"]) == ["suite"]


def test_weak_signals_are_shown_as_weak_where_a_group_hears_them(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    client.hset("slo_router:implicit", day, "1")
    sums = {"small:ner:answers": "1000", "small:ner:score": "600", "small:ner:seconds": "0"}
    client.hset(f"slo_router:implicit:{day}", mapping=sums)  # type: ignore[arg-type]
    on = write_config(
        tmp_path / "on.yaml", {"redis_url": server.url, "groups": {"smart": {"implicit_feedback": ["asked_again"]}}}
    )
    found = json.loads(RUNNER.invoke(app, ["status", "--config", str(on), "--json"]).stdout)["deployments"]
    quality = found[0]["quality"]["ner"]
    assert quality["answers"] == {"weak_implicit": pytest.approx(20, rel=0.05)}
    assert quality["mean"] == quality["bound"] == pytest.approx(0.69, abs=0.001)  # half of the way from 0.7 to 0.68
    for command in (["status"], ["explain", "--prompt", "Name the people.", "--category", "ner"]):
        shown = RUNNER.invoke(app, [*command, "--config", str(on)], terminal_width=200, env={"COLUMNS": "200"}).stdout
        assert "20 weak implicit" in shown, shown
    off = write_config(tmp_path / "off.yaml", {"redis_url": server.url})
    small, _ = json.loads(RUNNER.invoke(app, ["status", "--config", str(off), "--json"]).stdout)["deployments"]
    assert small["quality"] == {}


def test_a_published_policy_is_named_with_its_differences_and_so_is_a_group_that_is_off(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    own = load_settings(config).plugin
    published = rollout.publish(client, own, {"smart": GroupSettings.model_validate({"slo": {"ttft_ms": 300}})})
    rollout.switch(client, "", "smart", on=False)
    found = json.loads(RUNNER.invoke(app, ["status", "--config", str(config), "--json"]).stdout)
    assert found["policy"] == published.version
    assert found["off"] == ["smart"]
    assert [re.sub(r"published \d+ s ago", "published N s ago", note) for note in found["notes"]] == [
        f"policy {published.version} was published N s ago and is in force instead of the YAML's {own.policy}",
        "smart.slo.ttft_ms: 300.0, was unset",
    ]
    shown = RUNNER.invoke(app, ["status", "--config", str(config)]).stdout
    assert f"policy {published.version}, 0 workers" in shown
    assert "· smart.slo.ttft_ms: 300.0, was unset" in shown
    assert "switched off, so that LiteLLM alone routes: smart" in shown
    other = write_config(tmp_path / "other.yaml", {"redis_url": server.url, "groups": {"smart": {"tie_band": 0.2}}})
    beside = json.loads(RUNNER.invoke(app, ["status", "--config", str(other), "--json"]).stdout)
    assert beside["policy"] == load_settings(other).plugin.policy
    (note,) = beside["notes"]
    assert f"{published.version} was published over {own.policy}, not over this YAML" in note


def test_nothing_there_yet_is_shown_as_unknown(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    client.hset("metrics:small:ner", mapping={"timestamp": "yesterday"})
    done = RUNNER.invoke(app, ["status", "--config", str(write_config(tmp_path / "c.yaml", {"redis_url": server.url}))])
    assert done.exit_code == 0
    assert "0 workers, 0 records, the last –" in done.stdout
    assert "1 impossible values in Redis" in done.stdout
    assert "never" in done.stdout


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ({}, "no redis_url in the YAML"),
        ({"redis_url": "redis://127.0.0.1:1"}, "Redis at redis://…/0: ConnectionError"),
    ],
)
def test_without_redis_there_is_no_status(tmp_path: Path, plugin: dict[str, object], message: str) -> None:
    done = RUNNER.invoke(app, ["status", "--config", str(write_config(tmp_path / "c.yaml", plugin))])
    assert done.exit_code == 1
    assert message in done.stderr


def test_watching_shows_it_anew_until_ctrl_c(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    client.xadd("slo_router:requests", {"record": line_of()})
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "refresh_interval_s": 0.05})
    program = "from slo_router.operator.cli import app; app()"
    watching = subprocess.Popen(
        [sys.executable, "-c", program, "status", "--watch", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm", "FORCE_COLOR": "1", "PYTHONUNBUFFERED": "1"},
    )
    assert watching.stdout is not None
    too_long = threading.Timer(120, watching.kill)
    too_long.start()
    plain = (re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", line) for line in watching.stdout)  # without colours
    assert any(b"1 records" in line for line in plain)
    client.xadd("slo_router:requests", {"record": line_of()})
    assert any(b"2 records" in line for line in plain)
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=60)
    too_long.cancel()
    assert (watching.returncode, errors) == (0, b"")
