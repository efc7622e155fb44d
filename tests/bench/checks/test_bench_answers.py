"""A deployment that answers with a template's markup is marked, loses its traffic, and gets it back when sound."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import redis
import yaml
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from slo_bench.cli import app
from slo_router.contract.metrics_hash import read_metrics
from slo_router.contract.model import Facts
from slo_router.worker.snapshot import make_snapshot
from tests.shared.builders import decided

SMALL = Facts("small", "m", None, None, 1e-6, 1e-6)
LARGE = Facts("large", "m", None, None, 9e-6, 9e-6)


@pytest.fixture
def config(tmp_path: Path, fleet: list[Handle], valkey_url: str) -> str:
    models = [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{handle.name}", "api_base": handle.api_base, "api_key": "none"},
            "model_info": {"id": handle.name},
        }
        for handle in fleet
    ]
    settings = {"slo_router": {"groups": {"smart": {}}, "redis_url": valkey_url}}
    path = tmp_path / "litellm_config.yaml"
    path.write_text(yaml.safe_dump({"model_list": models, "callback_settings": settings}))
    return str(path)


def bench(config: str, requests: int, *options: str) -> Result:
    arguments = ["--config", config, "--categories", "ner", "--requests", str(requests), *options]
    return CliRunner().invoke(app, ["run", *arguments])


def marks(url: str) -> dict[str, str | None]:
    with redis.Redis.from_url(url, decode_responses=True) as link:
        return {name: link.hget(f"metrics:{name}:ner", "answer_fault") for name in ("small", "large")}


def test_a_broken_deployment_is_marked_and_not_used_until_a_later_run_finds_it_sound(
    config: str, valkey_url: str, fleet: list[Handle]
) -> None:
    fleet[0].control("leak")
    broken = bench(config, 5)
    assert broken.exit_code == 1, broken.output
    assert marks(valkey_url) == {"small": "special_token 5/5", "large": None}
    assert "small ner: 5 of 5 answers failed their checks (57% to 100% of all): " in broken.output
    assert re.search(
        r": [^\n]*\b5 special_token\b[^\n]*; it gets no such traffic", broken.output
    )  # and may be gibberish, too
    assert "im_end" not in broken.output
    assert picked(valkey_url) == "large"

    fleet[0].reset()
    assert bench(config, 2).exit_code == 0
    assert marks(valkey_url)["small"] == "special_token 5/5"  # two sound answers prove nothing
    sound = bench(config, 5, "--json")
    assert sound.exit_code == 0
    assert marks(valkey_url) == {"small": None, "large": None}
    assert json.loads(sound.stdout)["results"][0]["answers"]["verdict"] == "sound"
    assert picked(valkey_url) == "small"


def picked(url: str) -> str:
    """Where the router sends a request of the category, by what is in Redis."""
    with redis.Redis.from_url(url, decode_responses=True) as link:
        found = {name: read_metrics(link.hgetall(f"metrics:{name}:ner"), time.time())[0] for name in ("small", "large")}
    snapshot = make_snapshot({name: {"ner": row} for name, row in found.items() if row is not None}, time.time())
    return decided([SMALL, LARGE], snapshot=snapshot).deployment_id
