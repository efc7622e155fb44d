"""`slo-bench sweep` and the load shapes of `slo-bench run`, as a user calls them, on the emulated fleet."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from slo_bench.cli import app
from slo_router.contract.latency_fit import FIT_FIELDS, read_fit

RUN = ("--requests", "12", "--categories", "ner", "--deployments", "small", "--warmup", "0")
SWEEP = (
    "--lengths",
    "64,128,192,256",
    "--rates",
    "60",
    "--step-s",
    "0.1",
    "--output-tokens",
    "4",
    "--categories",
    "ner",
)


@pytest.fixture
def config(tmp_path: Path, fleet: list[Handle], valkey_url: str) -> str:
    models = [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{handle.name}", "api_base": handle.api_base, "api_key": "none"},
            "model_info": {"id": handle.name, "max_input_tokens": tokens},
        }
        for handle, tokens in zip(fleet, (8_192, 128), strict=True)
    ]
    plugin = {"redis_url": valkey_url, "groups": {"smart": {"slo": {"ttft_ms": 500}}}}
    path = tmp_path / "litellm_config.yaml"
    path.write_text(yaml.safe_dump({"model_list": models, "callback_settings": {"slo_router": plugin}}))
    return str(path)


def bench(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def hashes(url: str) -> dict[str, dict[str, str]]:
    with redis.Redis.from_url(url, decode_responses=True) as link:
        return {key: link.hgetall(key) for key in link.scan_iter("metrics:*")}


def test_a_sweep_prints_steps_and_knee_and_writes_a_fit_that_a_later_run_keeps(config: str, valkey_url: str) -> None:
    page = Path(config).with_name("page.html")
    result = bench("sweep", "--config", config, "--deployments", "small", *SWEEP, "--json", "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "<td>256</td><td>60</td>" in page.read_text()
    (sweep,) = json.loads(result.stdout)["sweeps"]
    assert [(one["prompt_tokens"], one["rate"]) for one in sweep["steps"]] == list(
        product((64, 128, 192, 256), (0, 60))
    )
    assert all(abs(one["measured_prompt_tokens"] - one["prompt_tokens"]) <= 8 for one in sweep["steps"])
    assert all(one["ttft_ms"]["p50"] >= 20 for one in sweep["steps"])
    assert [one["prompt_tokens"] for one in sweep["knees"]] == [64, 128, 192, 256]
    assert "small · 64 tokens · 60/s" in result.stderr

    found, bad = read_fit(hashes(valkey_url)["metrics:small:ner"], time.time())
    assert bad == []
    assert found is not None
    assert sweep["fit"]["fit_a_ms"] == pytest.approx(found.a_s * 1_000)

    bench("run", "--config", config, *RUN, "--rate", "200")
    after = hashes(valkey_url)["metrics:small:ner"]
    assert set(after) >= FIT_FIELDS
    assert float(after["ttft_ms"]) >= 20


def test_a_length_that_the_context_has_no_room_for_is_left_out_and_said(config: str) -> None:
    arguments = ("--config", config, "--deployments", "large", "--no-publish")
    result = bench("sweep", *arguments, *SWEEP)
    assert result.exit_code == 1
    assert "large: not swept at 128, 192, 256 tokens: its context is too short" in result.stderr
    assert "too little was measured" in result.stdout


def test_a_deployment_that_answers_nothing_is_not_loaded(config: str, fleet: list[Handle]) -> None:
    fleet[0].control("error500")
    result = bench("sweep", "--config", config, "--deployments", "small", *SWEEP)
    assert result.exit_code == 1
    assert "small: not swept to its end: no prompt of 64 tokens was answered" in result.stderr
    assert len(fleet[0].seen()) == 7


def test_the_sweeps_time_is_bounded(config: str, fleet: list[Handle]) -> None:
    fleet[0].control("hang")
    arguments = ("--config", config, "--deployments", "small", "--max-minutes", "0.002", "--no-publish")
    result = bench("sweep", *arguments)
    assert result.exit_code == 2
    assert "small: not swept to its end: the time was up" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lengths", "128"), "--lengths: '128', expected two lengths at least"),
        (("--rates", "nan"), "--rates: 'nan', expected"),
        (("--categories", "poetry"), "--categories: 'poetry' is unknown"),
    ],
)
def test_a_sweep_that_cannot_be_meant_exits_2_and_says_why(
    arguments: tuple[str, ...], message: str, config: str
) -> None:
    result = bench("sweep", "--config", config, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_run_by_the_clock_says_how_late_it_was(config: str) -> None:
    result = bench("run", "--config", config, *RUN, "--rate", "100", "--no-publish", "--json")
    (found,) = json.loads(result.stdout)["results"]
    assert found["requests"] == 12
    assert 0 <= found["send_lag_ms"]["p50"] <= found["send_lag_ms"]["p99"] <= found["send_lag_ms"]["max"]
    assert "requests were sent" in result.stderr


def test_a_trace_is_replayed_with_its_sizes_at_its_speed(config: str, fleet: list[Handle], tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,prompt_tokens,output_tokens\n5,40,3\n6,400,4\n7,,\n")  # without a limit it writes 4 to 12
    began_s = time.perf_counter()
    result = bench("run", "--config", config, *RUN, "--trace", str(trace), "--speed", "20", "--no-publish")
    assert result.exit_code == 0, result.output
    assert time.perf_counter() - began_s >= 0.1  # two seconds, twenty times as fast
    sizes = [(seen.prompt_tokens or 0, seen.completion_tokens) for seen in fleet[0].seen()]
    for prompt_tokens, output_tokens in ((40, 3), (400, 4)):
        assert [written for length, written in sizes if abs(length - prompt_tokens) <= 5] == [output_tokens]


def test_two_shapes_at_once_are_refused(config: str) -> None:
    result = bench("run", "--config", config, *RUN, "--rate", "1", "--trace", "t.csv")
    assert result.exit_code == 2
    assert "--rate and --trace: both given" in result.stderr
