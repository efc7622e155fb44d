"""Fixtures that several tests of workers use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.redis.link import AsyncClient, connect


@pytest.fixture
async def link(server: ValkeyServer) -> AsyncIterator[AsyncClient]:
    """A worker's client of the tests' Valkey."""
    connected = connect(server.url)
    yield connected
    await connected.aclose()
