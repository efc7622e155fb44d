"""The agent's tests share one emulated fleet and one Valkey for the session. Both are emptied before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import yaml

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.valkey_server import ValkeyServer
from tests.bench.commanded import SECRET


@pytest.fixture(scope="session")
def _fleet() -> Iterator[list[Handle]]:
    quick = {"ttft_ms": 20, "prefill_us_per_token": 0, "tpot_ms": 1, "jitter": 0, "output_tokens": 8}
    specs = [EndpointSpec(name=name, slots=64, **quick) for name in ("small", "large")]  # type: ignore[arg-type]
    with running_endpoints(specs) as handles:
        yield handles


@pytest.fixture
def fleet(_fleet: list[Handle]) -> list[Handle]:
    for handle in _fleet:
        handle.reset()
    return _fleet


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey_url(_valkey: ValkeyServer) -> str:
    with redis.Redis.from_url(_valkey.url) as link:
        link.flushall()
    return _valkey.url


@pytest.fixture
def configure(tmp_path: Path, valkey_url: str) -> Callable[..., str]:
    """Writes a configuration with one deployment, `small`. Returns its path."""

    def write(api_base: str, model: str = "openai/small", info: object = None, **params: object) -> str:
        own = {"model": model, "api_base": api_base, "api_key": SECRET} | params
        entry = {"model_name": "smart", "litellm_params": own, "model_info": {"id": "small", **(info or {})}}  # type: ignore[dict-item]
        plugin = {"groups": {"smart": {}}, "redis_url": valkey_url}
        path = tmp_path / "litellm_config.yaml"
        document = {"model_list": [entry], "callback_settings": {"slo_router": plugin}}
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write
