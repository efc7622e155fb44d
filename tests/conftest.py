"""For every test: the order; property tests are judged by what they find, not by how fast a busy machine draws their
examples; and one Valkey for all tests that leave it running, emptied before each.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.valkey_server import ValkeyServer

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


WRITES_PRISMAS_CLIENT = "test_virtual_keys.py"  # 10 MB of Python: a proxy that starts after that takes 5 s longer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Proxies first, so that small files fill up what is left, and the one with a database last of them."""
    items.sort(key=lambda item: ("e2e" not in item.path.parts, item.path.name == WRITES_PRISMAS_CLIENT))


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def server(_server: ValkeyServer) -> ValkeyServer:
    with redis.Redis(port=_server.port) as link:
        link.flushall()
    return _server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as link:
        yield link
