"""What the agent's tests share: one emulated fleet and one Valkey for the session, both emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from evaluation.endpoints import EndpointSpec, Handle, running_endpoints
from tests.valkey_server import ValkeyServer


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
