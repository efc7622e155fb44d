"""`slo-router explain` for a past request, from Redis or a file, and for a prompt that was never sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics, Slo
from slo_router.contract.settings.config import load_settings
from slo_router.operator.cli import app
from slo_router.worker.rollout import publish
from tests.shared.record_builders import decide_between, line_of, shadow_line_of, write_config

RUNNER = CliRunner(env={"COLUMNS": "180", "TERM": "dumb"})
GROUPS = {"smart": {"trial_share": 0.0}}


def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    done = RUNNER.invoke(app, ["explain", "--config", str(config), *arguments])
    return done.exit_code, done.stdout, done.stderr


def recorded_under(config: Path, **changes: object) -> str:
    """The log line of a request that was decided under this YAML's policy."""
    decision = decide_between(slo=Slo(ttft_s=0.16))._replace(policy=load_settings(config).plugin.policy)
    return line_of(decision, **changes)


def test_a_request_is_found_in_redis_with_every_candidate_and_decided_again(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "key_prefix": "team:", "groups": GROUPS})
    client.xadd("team:slo_router:requests", {"record": recorded_under(config)})
    code, out, _ = run(config, "chatcmpl-1")
    assert code == 0
    for text in (
        "met: small; cheapest of 1 that meet the SLO",
        "ner (client), about 1,000 + 500 tokens",
        "ttft_ms 160",
        "success from small, 1 attempts, SLO kept",
        "TTFT 150 ms, total 2,000 ms, $0.0005000, 300 + 100 tokens",
        "decided again the same",
        "misses ttft_ms by 40 ms (200 ms against 160 ms)",
        "measured, 60 s old",
    ):
        assert text in out, out


def test_a_decision_in_shadow_says_so(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(shadow_line_of(deployment="large"))
    code, out, _ = run(write_config(tmp_path / "c.yaml"), "chatcmpl-1", "--log", str(tmp_path / "r.jsonl"))
    assert code == 0
    assert "without effect: LiteLLM chose where the request went" in out
    assert "success from large" in out


def test_a_published_policy_decides_a_prompt_and_its_own_requests_again(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "groups": GROUPS})
    plugin = load_settings(config).plugin
    stricter = {name: group.model_copy(update={"max_error_rate": 0.4}) for name, group in plugin.groups.items()}
    published = publish(client, plugin, stricter)
    decision = decide_between(slo=Slo(ttft_s=0.16))._replace(policy=published.version)
    client.xadd("slo_router:requests", {"record": line_of(decision)})
    assert "decided again the same" in run(config, "chatcmpl-1")[1]
    asked = json.loads(run(config, "--prompt", "List all names.", "--json")[1])
    assert asked["policy"] == published.version


def test_json_has_the_numbers(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", {"groups": GROUPS})
    (tmp_path / "r.7.jsonl").write_text(recorded_under(config))
    _, out, _ = run(config, "chatcmpl-1", "--json", "--log", str(tmp_path / "r.jsonl"))
    found = json.loads(out)
    assert (found["deployment"], found["decided again"], found["slo"]["ttft_ms"]) == ("small", "the same", 160.0)
    assert [one["predicted"]["ttft_ms"] for one in found["candidates"]] == [100.0, 200.0]


def test_another_policy_is_not_decided_again(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", {"groups": GROUPS})
    (tmp_path / "r.7.jsonl").write_text(line_of())
    _, out, _ = run(config, "chatcmpl-1", "--log", str(tmp_path / "r.jsonl"))
    assert "this was cafe0123; see `slo-router replay`" in out
    (tmp_path / "r.7.jsonl").write_text(recorded_under(config, model_group="else"))
    _, out, _ = run(config, "chatcmpl-1", "--log", str(tmp_path / "r.jsonl"))
    assert "no: the YAML does not manage else" in out


def test_a_prompt_is_decided_with_what_redis_holds(tmp_path: Path, server: ValkeyServer, client: redis.Redis) -> None:
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url, "groups": GROUPS})
    for name, ttft_s in (("small", 0.5), ("large", 0.2)):
        client.hset(f"metrics:{name}:ner", mapping=write_metrics(Metrics(time.time() - 60, ttft_s, tpot_s=0.01)))  # type: ignore[arg-type]
    asked = ["--prompt", "Who is named here?", "--slo", "ttft_ms=300", "--category", "ner", "--max-tokens", "7"]
    code, out, _ = run(config, *asked)
    assert code == 0
    assert "met: large" in out
    assert "ner (client)" in out
    assert "+ 7 tokens" in out
    assert "misses ttft_ms by 200 ms (500 ms against 300 ms)" in out
    assert client.keys("*") == client.keys("metrics:*")  # nothing is published


def test_a_graded_quality_is_shown_with_its_bound_its_answers_and_their_age(
    tmp_path: Path, server: ValkeyServer, client: redis.Redis
) -> None:
    graded = Metrics(time.time(), 0.1, quality_score=0.8, quality_n=200, quality_at_s=time.time() - 7_300)
    client.hset("metrics:small:ner", mapping=write_metrics(graded))  # type: ignore[arg-type]
    config = write_config(tmp_path / "c.yaml", {"redis_url": server.url})
    asked = ("--prompt", "Who is named here?", "--category", "ner", "--slo", "min_quality=0.77")
    _, out, _ = run(config, *asked)
    for text in ("0.79, at least 0.76", "200 suite, 2.0 h", "with 90 % confidence", "sure to be"):
        assert text in " ".join(out.replace("│", " ").split()), out
    _, out, _ = run(config, *asked, "--json")
    found = {one["deployment"]: one["predicted"] for one in json.loads(out)["candidates"]}
    assert found["small"]["quality_bound"] < 0.77 < found["small"]["quality"]
    assert (found["large"]["quality_bound"], found["large"]["quality_answers"]) == (0.9, {})


def test_without_redis_a_prompt_is_decided_by_the_yaml(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", {"groups": GROUPS})
    code, out, _ = run(config, "--prompt", "hello", "--slo", "min_quality=0.8", "--json")
    assert code == 0
    assert json.loads(out)["deployment"] == "large"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chatcmpl-2", "--log", "LOG"], "'chatcmpl-2': no record of it"),
        (["not-ours", "--log", "LOG"], "not-ours: LiteLLM chose small; there was no decision by SLO"),
        (["chatcmpl-1"], "no records: expected redis_url"),
        (["--prompt", "x", "--slo", "ttft=3"], "slo: 'ttft=3', expected FIELD=NUMBER with one of ttft_ms"),
        (["--prompt", "x", "--slo", "ttft_ms=soon"], "x-slo-ttft-ms: 'soon' is not valid"),
        (["--prompt", "x", "--category", "poems"], "x-slo-category: 'poems' is not valid"),
        (["--prompt", "x", "--group", "else"], "group: 'else', expected one of smart"),
    ],
)
def test_a_problem_is_named_and_ends_with_1(tmp_path: Path, arguments: list[str], message: str) -> None:
    config = write_config(tmp_path / "c.yaml")
    not_ours = json.loads(line_of(request_id="not-ours")) | {"decision": None}
    (tmp_path / "r.1.jsonl").write_text(line_of() + "\n" + json.dumps(not_ours, separators=(",", ":")))
    code, _, err = run(config, *[str(tmp_path / "r.jsonl") if one == "LOG" else one for one in arguments])
    assert code == 1
    assert message in err


@pytest.mark.parametrize("arguments", [[], ["chatcmpl-1", "--prompt", "x"]])
def test_an_id_or_a_prompt_is_wanted(tmp_path: Path, arguments: list[str]) -> None:
    code, _, err = run(write_config(tmp_path / "c.yaml"), *arguments)
    assert code == 2
    assert "expected either a request id or --prompt" in err
