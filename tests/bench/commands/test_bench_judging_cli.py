"""The command with the configured SLO and the stated utilization: what it prints, and what the router gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner

from evaluation.emulator import Handle
from slo_bench.cli import app

QUICK = ("--requests", "3", "--categories", "ner", "--warmup", "1")


@pytest.fixture
def config(tmp_path: Path, fleet: list[Handle], valkey_url: str) -> str:
    def entry(handle: Handle, params: dict[str, float], facts: dict[str, float]) -> dict[str, object]:
        params_all = {"model": f"openai/{handle.name}", "api_base": handle.api_base, "api_key": "none", **params}
        return {
            "model_name": "smart",
            "litellm_params": params_all,
            "model_info": {"id": handle.name, "slo_router": facts},
        }

    small, large = fleet
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    document = {
        "model_list": [entry(small, {}, {"gpu_usd_per_hour": 3.6}), entry(large, prices, {})],
        "callback_settings": {
            "slo_router": {"redis_url": valkey_url, "groups": {"smart": {"slo": {"ttft_ms": 2_000, "e2e_ms": 1}}}}
        },
    }
    path = tmp_path / "litellm_config.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_the_slo_of_the_group_and_the_utilization_reach_figures_and_redis(config: str, valkey_url: str) -> None:
    result = CliRunner().invoke(app, ["run", "--config", config, *QUICK, "--json", "--utilization", "0.5"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    small = document["results"][0]
    assert small["slo"]["limits"] == {"ttft_ms": 2_000.0, "e2e_ms": 1.0}
    assert (small["slo"]["attainment"], small["slo"]["goodput_rps"]) == (0.0, 0.0)  # no answer takes 1 ms
    assert small["itl_ms"]["n"] == small["completion_tokens"] - small["requests"]  # one gap fewer than chunks
    tokens_per_s = small["prompt_tps"] + small["throughput_tps"]
    assert small["cost_per_1k"] == pytest.approx(1_000 * 0.001 / (tokens_per_s * 0.5))  # 3.6 USD an hour
    with redis.Redis.from_url(valkey_url, decode_responses=True) as link:
        assert float(link.hget("metrics:small:ner", "cost_per_1k") or 0) == pytest.approx(small["cost_per_1k"])
    (pair,) = document["break_even"]
    assert (pair["self_hosted"], pair["priced"]) == ("small", "large")
    assert pair["capacity_requests_per_hour"] == pytest.approx(3_600 * small["requests_per_s"] * 0.5)


def test_the_full_tables_come_on_demand_and_the_break_even_without(config: str) -> None:
    brief, full = (
        CliRunner().invoke(app, ["run", "--config", config, *QUICK, "--no-publish", *more]).stdout
        for more in ((), ("--full",))
    )
    for text in (brief, full):
        assert "From how many requests per hour a GPU is cheaper" in text
        assert "as busy as here 100%" in text
    assert "reasoning" in full
    assert "reasoning" not in brief
