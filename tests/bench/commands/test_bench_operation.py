"""A run without supervision: it keeps its budget, gives way to live traffic, and continues where it was killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from slo_bench.cli import app
from slo_bench.guard.lock import endpoint_of
from slo_router.contract.keys import LIVE_KEY, LOCK_KEY, UNFINISHED_KEY, WORKERS_KEY
from slo_router.contract.settings.config import load_settings

CELLS = 2 * 3  # deployments × categories
SHORT = ("--requests", "2", "--concurrency", "2", "--timeout-s", "60")
PROMPTS = [
    {"category": name, "max_tokens": 8, "messages": [{"role": "user", "content": f"A task: {name}."}]}
    for name in ("ner", "summarization", "reasoning")
]


def configuration(handles: list[Handle], url: str, path: Path, **own: object) -> str:
    entries = [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{handle.name}", "api_base": handle.api_base, "api_key": "none"}
            | {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5},
            "model_info": {"id": handle.name, "slo_router": own},
        }
        for handle in handles
    ]
    path.write_text(
        yaml.safe_dump(
            {"model_list": entries, "callback_settings": {"slo_router": {"redis_url": url, "groups": {"smart": {}}}}}
        )
    )
    path.with_name("prompts.jsonl").write_text("\n".join(map(json.dumps, PROMPTS)))
    return str(path)


@pytest.fixture
def config(fleet: list[Handle], valkey_url: str, tmp_path: Path) -> str:
    return configuration(fleet, valkey_url, tmp_path / "litellm_config.yaml")


@pytest.fixture
def link(valkey_url: str) -> redis.Redis:
    return redis.Redis.from_url(valkey_url, decode_responses=True)


def call(config: str, *arguments: str) -> list[str]:
    return ["run", "--config", config, "--workload", str(Path(config).with_name("prompts.jsonl")), *SHORT, *arguments]


def bench(config: str, *arguments: str) -> Result:
    result = CliRunner().invoke(app, call(config, *arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def document(config: str, *arguments: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(bench(config, *arguments, "--json").stdout)
    return found


def charged_usd(fleet: list[Handle]) -> float:
    """What a provider with these prices would charge."""
    seen = [one for handle in fleet for one in handle.seen()]
    return sum((one.prompt_tokens or 0) * 1e-6 + (one.completion_tokens or 0) * 1e-5 for one in seen)


@pytest.mark.parametrize("budget_usd", [0.0, 0.0005, 0.0015])
def test_the_budget_ends_the_run_and_is_not_passed(budget_usd: float, config: str, fleet: list[Handle]) -> None:
    result = bench(config, "--budget-usd", str(budget_usd), "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (1 if found["results"] else 2)
    assert len(found["results"]) < CELLS
    assert found["spent"]["usd"] == pytest.approx(charged_usd(fleet))
    assert charged_usd(fleet) <= budget_usd
    assert "the budget is used up" in result.stderr
    assert "the budget is used up" in found["stopped"]["large"]


def test_a_deployment_without_a_price_is_left_out_where_a_budget_is_given(
    fleet: list[Handle], valkey_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "litellm_config.yaml"
    configuration(fleet, valkey_url, path)
    path.write_text(path.read_text().replace("input_cost_per_token: 1.0e-06", "rpm: 10", 1))
    strict = bench(str(path), "--categories", "ner", "--budget-usd", "1")
    assert (strict.exit_code, fleet[0].seen()) == (1, [])
    assert "small: not measured: no price is known" in strict.stderr
    lenient = bench(str(path), "--categories", "ner", "--dry-run")
    assert "no price is known of small: its cost is not counted" in lenient.stdout


def test_gpu_hours_are_spent_by_the_clock(fleet: list[Handle], valkey_url: str, tmp_path: Path) -> None:
    config = configuration(fleet, valkey_url, tmp_path / "c.yaml", gpu_usd_per_hour=3_600)  # a dollar a second
    found = document(config, "--categories", "ner", "--budget-usd", "1000")
    spent = found["spent"]
    assert isinstance(spent, dict)
    assert 0.08 <= spent["usd"] <= 60 * spent["minutes"]  # two endpoints, each three times 20 ms at least


def test_the_plan_is_told_before_and_by_a_dry_run_from_what_is_known(config: str, fleet: list[Handle]) -> None:
    assumed = document(config, "--dry-run")
    assert fleet[0].seen() == []
    first = document(config)
    known = document(config, "--dry-run")
    assert [row["known_from"] for row in assumed["deployments"]] == [["assumed"]] * 2  # type: ignore[attr-defined]
    assert [row["known_from"] for row in known["deployments"]] == [["earlier run"]] * 2  # type: ignore[attr-defined]
    planned, spent = known["total"], first["spent"]
    assert planned["requests"] == 2 * (6 + 1)  # type: ignore[index]
    assert 0.3 < planned["usd"] / spent["usd"] < 1  # type: ignore[index]  # the first run asked twelve more


def test_an_endpoint_that_another_agent_measures_is_left_out(
    config: str, fleet: list[Handle], link: redis.Redis
) -> None:
    small, _ = (LOCK_KEY + endpoint_of(deployment) for deployment in load_settings(Path(config)).deployments)
    link.set(small, "another agent", px=60_000)
    result = bench(config, "--categories", "ner", "--skip-locked")
    assert result.exit_code == 1
    assert (len(fleet[0].seen()), len(fleet[1].seen())) == (0, 2 + 1 + 2)
    assert "small ner: not measured: another agent is measuring it" in result.stderr
    assert link.keys(LOCK_KEY + "*") == [small]  # its own ones are free


def test_live_traffic_is_given_way_to_and_not_for_ever(config: str, fleet: list[Handle], link: redis.Redis) -> None:
    link.sadd(WORKERS_KEY, "w1", "w2")
    link.set(LIVE_KEY + "w1", json.dumps({"small": {"in_flight": 36}, "large": {"in_flight": 1}}))
    link.set(LIVE_KEY + "w2", json.dumps({"small": {"in_flight": 1}}))
    result = bench(config, "--categories", "ner", "--max-pause-minutes", "0.001")
    assert "small: paused: 37 live requests" in result.stderr
    assert "small ner: not measured: more than 8 live requests" in result.stderr
    assert (result.exit_code, len(fleet[0].seen())) == (1, 0)
    assert bench(config, "--categories", "ner", "--pause-above", "40").exit_code == 0


def test_what_an_interrupted_run_finished_is_not_measured_again(config: str, link: redis.Redis) -> None:
    bench(config, "--budget-usd", "0.0005", "--warmup", "0")
    (unfinished,) = link.keys(UNFINISHED_KEY + "*")
    finished = link.hlen(unfinished)
    assert 0 < finished < CELLS
    found = document(config, "--warmup", "0")
    assert len(found["finished_before"]) == finished  # type: ignore[arg-type]
    assert len(found["results"]) == CELLS - finished  # type: ignore[arg-type]
    assert link.keys(UNFINISHED_KEY + "*") == []
    link.hset(unfinished, mapping={json.dumps(["small", "ner"]): "[1.0,2]"})
    assert len(document(config, "--warmup", "0", "--fresh")["results"]) == CELLS  # type: ignore[arg-type]


def killed_at_random(config: str, link: redis.Redis, seed: int, longest_s: float) -> None:
    """Kills a run at a random moment after its first request, checks what it left, and lets the next run end."""
    rng = random.Random(seed)
    before = {key: link.hgetall(key) for key in link.keys("metrics:*")}
    command = [str(Path(sys.executable).with_name("slo-bench")), *call(config, "--skip-locked")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not link.keys(LOCK_KEY + "*") and child.poll() is None:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, longest_s))
    child.send_signal(signal.SIGKILL)
    child.wait()
    unfinished = link.keys(UNFINISHED_KEY + "*")
    finished = link.hgetall(unfinished[0]) if unfinished else {}
    for key in link.keys("metrics:*"):
        fields, (_, name, category) = link.hgetall(key), str(key).split(":")
        is_new = fields.get("timestamp") != before.get(key, {}).get("timestamp")
        assert is_new or fields == before[key], key  # all old fields
        assert not is_new or {"ttft_ms", "tpot_ms", "cost_per_1k", "error_rate", "samples"} <= fields.keys()
        assert is_new or json.dumps([name, category]) not in finished
    for lock in link.keys(LOCK_KEY + "*"):
        assert 0 < link.pttl(lock) <= 30_000
        link.delete(lock)  # as if the lock had expired
    found = document(config)
    assert len(found["finished_before"]) == len(finished)  # type: ignore[arg-type]
    assert len(found["results"]) == CELLS - len(finished)  # type: ignore[arg-type]
    assert len(link.keys("metrics:*")) == CELLS


def test_a_run_that_is_killed_leaves_whole_metrics_and_the_next_one_goes_on(config: str, link: redis.Redis) -> None:
    killed_at_random(config, link, seed=1, longest_s=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_it_may_be_killed_at_any_moment(config: str, link: redis.Redis, seed: int) -> None:
    bench(config)
    killed_at_random(config, link, seed, longest_s=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_frees_its_locks(config: str, link: redis.Redis, how: signal.Signals) -> None:
    if signal.getsignal(how) == signal.SIG_IGN:
        pytest.skip("a job in the background of a shell ignores Ctrl-C, and so do its children")
    command = [str(Path(sys.executable).with_name("slo-bench")), *call(config, "--requests", "2000")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not link.keys(LOCK_KEY + "*") and child.poll() is None:
        time.sleep(0.005)
    time.sleep(0.3)
    child.send_signal(how)
    assert child.wait(timeout=60) != 0
    assert link.keys(LOCK_KEY + "*") == []
