"""The command, as a user runs it: exit codes, what is printed, what is in Redis afterwards, and no secret anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from slo_bench.cli import app
from tests.shared.particular_server import GOOD, Request, particular, refuse

SECRET = "sk-very-secret"
WriteConfig = Callable[..., str]
QUICK = ("--requests", "2", "--categories", "ner", "--timeout-s", "60")


def entry(name: str, api_base: str, model: str | None = None) -> dict[str, object]:
    params = {"model": model or f"openai/{name}", "api_base": api_base, "api_key": SECRET}
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    return {"model_name": "smart", "litellm_params": params | prices, "model_info": {"id": name}}


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    def write(entries: list[dict[str, object]], **settings: object) -> str:
        document = {"model_list": entries, "callback_settings": {"slo_router": {"groups": {"smart": {}}, **settings}}}
        path = tmp_path / "litellm_config.yaml"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write


@pytest.fixture
def config(write_config: WriteConfig, fleet: list[Handle], valkey_url: str) -> str:
    return write_config([entry(h.name, h.api_base) for h in fleet], redis_url=valkey_url)


def bench(*arguments: str, env: dict[str, str] | None = None) -> Result:
    result = CliRunner(env=env).invoke(app, ["run", *arguments])
    assert SECRET not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def hashes(url: str) -> dict[str, dict[str, str]]:
    with redis.Redis.from_url(url, decode_responses=True) as link:
        return {key: link.hgetall(key) for key in link.scan_iter("*metrics:*")}


def test_a_full_run_measures_publishes_and_exits_0(config: str, valkey_url: str, fleet: list[Handle]) -> None:
    result = bench("--config", config, "--requests", "2")
    assert result.exit_code == 0, result.output
    assert len(hashes(valkey_url)) == 6  # 2 deployments × 3 categories
    assert float(hashes(valkey_url)["metrics:small:ner"]["ttft_ms"]) >= 20  # the endpoint's own
    assert "summarization" in result.stdout
    assert "TTFT p50" in result.stdout
    assert len(fleet[0].seen()) == 3 * (2 + 2) + 1  # two first requests for the plan, and one warm-up


def test_json_goes_to_stdout_alone(config: str) -> None:
    result = bench("--config", config, *QUICK, "--json")
    document = json.loads(result.stdout)
    first = document["results"][0]
    assert (first["deployment"], first["category"], first["requests"]) == ("small", "ner", 2)
    assert first["ttft_ms"]["p50"] >= 20
    assert first["cost_per_1k"] == pytest.approx(0.001)
    assert first["published"] is True


def test_a_failing_deployment_exits_1_and_only_its_error_rate_changes(
    config: str, valkey_url: str, fleet: list[Handle]
) -> None:
    bench("--config", config, *QUICK)
    before = hashes(valkey_url)
    fleet[1].control("error500")
    result = bench("--config", config, *QUICK)
    after = hashes(valkey_url)
    assert result.exit_code == 1
    failed_at = after["metrics:large:ner"].pop("error_timestamp")
    assert float(failed_at) > float(before["metrics:large:ner"]["timestamp"])
    assert after["metrics:large:ner"] == before["metrics:large:ner"] | {"error_rate": "1"}
    assert after["metrics:small:ner"]["error_rate"] == "0"
    assert "2 http_500" in result.stdout
    assert "large ner: not measured" in result.stderr


def test_failures_do_not_enter_the_latencies(write_config: WriteConfig, valkey_url: str) -> None:
    def fail_slowly(_: Request) -> bytes:
        if len(server.requests) != 2:
            return GOOD
        time.sleep(0.5)
        return refuse(500, "out of memory")

    with particular(fail_slowly) as server:
        config = write_config([entry("small", server.api_base)], redis_url=valkey_url)
        began_s = time.perf_counter()
        result = bench("--config", config, *QUICK, "--requests", "3", "--concurrency", "1", "--warmup", "0")
        all_s = time.perf_counter() - began_s
    small = hashes(valkey_url)["metrics:small:ner"]
    assert result.exit_code == 0
    assert (small["error_rate"], small["samples"]) == ("0.333333333", "2")
    assert float(small["ttft_p95_ms"]) <= 1_000 * (all_s - 0.5)


def test_dropped_kept_alive_connections_leave_the_error_rate_at_0(
    config: str, valkey_url: str, fleet: list[Handle]
) -> None:
    fleet[0].control(drop_keepalive_every=2)
    bench("--config", config, "--requests", "8", "--categories", "ner", "--concurrency", "1")
    assert any(seen.fault == "drop" for seen in fleet[0].seen())
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"


def test_nothing_measured_exits_2(config: str, fleet: list[Handle]) -> None:
    for handle in fleet:
        handle.control("error429")
    assert bench("--config", config, *QUICK).exit_code == 2


def test_a_deployment_that_cannot_be_called_is_named_and_exits_1(
    write_config: WriteConfig, fleet: list[Handle]
) -> None:
    entries = [entry("small", fleet[0].api_base), entry("claude", fleet[0].api_base, "anthropic/claude")]
    result = bench("--config", write_config(entries), *QUICK, "--no-publish")
    assert result.exit_code == 1
    assert "claude: not measured: anthropic/claude" in result.stderr
    assert "--via-proxy" in result.stderr


def test_the_time_limit_stops_the_run_and_says_what_is_missing(config: str, fleet: list[Handle]) -> None:
    fleet[0].control("hang")
    result = bench("--config", config, *QUICK, "--timeout-s", "3600", "--max-minutes", "0.003")
    assert result.exit_code == 2
    assert "large ner: not measured: the time was up" in result.stderr


def test_through_the_proxy_deployments_are_called_by_id_with_the_proxys_key(
    config: str, fleet: list[Handle], valkey_url: str
) -> None:
    result = bench("--config", config, *QUICK, "--via-proxy", fleet[1].api_base, env={"LITELLM_MASTER_KEY": SECRET})
    assert result.exit_code == 0, result.output
    assert len(fleet[0].seen()) == 0
    assert len(fleet[1].seen()) == 2 * (2 + 2 + 1)
    assert fleet[1].seen()[0].headers == {"x-litellm-num-retries": "0"}
    assert set(hashes(valkey_url)) == {"metrics:small:ner", "metrics:large:ner"}


def test_a_dry_run_prints_the_plan_and_calls_nobody(config: str, fleet: list[Handle], valkey_url: str) -> None:
    result = bench("--config", config, *QUICK, "--dry-run")
    assert result.exit_code == 0
    assert "4 requests, 4 in flight per deployment" in result.stdout
    assert str(fleet[0].port) not in result.output
    assert json.loads(bench("--config", config, *QUICK, "--dry-run", "--json").stdout)["cells"][0]["requests"] == 2
    assert (fleet[0].seen(), hashes(valkey_url)) == ([], {})


@pytest.mark.parametrize("flag", [(), ("--no-publish",), ("--dry-run",)])
def test_without_redis_publishing_is_an_error_and_the_rest_works(
    flag: tuple[str, ...],
    write_config: WriteConfig,
    fleet: list[Handle],
) -> None:
    result = bench("--config", write_config([entry("small", fleet[0].api_base)]), *QUICK, *flag)
    assert result.exit_code == (0 if flag else 2)
    assert ("redis_url: missing" in result.stderr) is not bool(flag)
    assert flag or fleet[0].seen() == []


def test_a_redis_that_is_down_is_noticed_before_anything_is_paid_for(config: str, fleet: list[Handle]) -> None:
    result = bench("--config", config, *QUICK, "--redis-url", "redis://:hidden-word@127.0.0.1:1/0")
    assert result.exit_code == 2
    assert "does not answer" in result.stderr
    assert "hidden-word" not in result.output
    assert fleet[0].seen() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "missing.yaml"), "missing.yaml: No such file"),
        (("--workload", "missing.jsonl"), "missing.jsonl: No such file"),
        (("--categories", "code"), "--categories: 'code' is unknown"),
        (("--deployments", "gpt"), "--deployments: 'gpt' is unknown"),
        (("--requests", "0"), "--requests"),
        (("--via-proxy", "localhost:4000"), "--via-proxy: expected"),
    ],
)
def test_a_call_that_cannot_be_meant_exits_2_and_says_why(
    arguments: tuple[str, ...], message: str, config: str
) -> None:
    result = bench("--config", config, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_help_shows_examples() -> None:
    result = bench("--help")
    assert "slo-bench run --config litellm_config.yaml --dry-run" in result.stdout
    assert '{"category": "ner"' in result.stdout
