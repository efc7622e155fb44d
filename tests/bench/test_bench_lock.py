"""The endpoint's lock: one holder, told when it is lost, freed at the end and after a crash, and no address in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic, sleep

import pytest
import redis

from slo_bench.errors import StoppedError
from slo_bench.operation.lock import LOCK_KEY, EndpointLock, endpoint_of
from slo_router.deployments import ManagedDeployment
from slo_router.domain import Facts
from slo_router.redis_link import AsyncClient, connect
from tests.valkey_server import ValkeyServer

KEY = f"team:{LOCK_KEY}e1"


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


class Holder:
    """An agent that wants the lock of endpoint e1."""

    def __init__(self, link: AsyncClient, ttl_s: float = 30.0) -> None:
        self.told: list[str] = []
        self.is_lost = asyncio.Event()
        self._lock = EndpointLock(link, "team:", "e1", ttl_s)

    def held(self, *, wait: bool = False) -> AbstractAsyncContextManager[None]:
        return self._lock.held(wait=wait, on_wait=lambda: self.told.append("waits"), on_lost=self._lose)

    def _lose(self) -> None:
        self.told.append("lost")
        self.is_lost.set()


async def test_a_second_agent_is_told_and_the_end_frees_it(link: AsyncClient) -> None:
    async with Holder(link).held():
        assert 25_000 < await link.pttl(KEY) <= 30_000
        with pytest.raises(StoppedError, match="another agent is measuring it"):
            await Holder(link).held().__aenter__()
    assert await link.get(KEY) is None


async def test_a_second_agent_waits_where_it_is_asked_to(link: AsyncClient) -> None:
    await link.set(KEY, "another", px=150)  # whose owner was killed
    waiting = Holder(link)
    async with waiting.held(wait=True):
        assert waiting.told == ["waits"]


async def test_it_is_renewed_for_as_long_as_it_is_held(link: AsyncClient) -> None:
    holder = Holder(link, ttl_s=0.6)
    async with holder.held():
        await asyncio.sleep(0.15)
        while await link.pttl(KEY) < 500:  # noqa: ASYNC110  # it has 450 ms left, until it is renewed
            await asyncio.sleep(0.01)
    assert holder.told == []


async def test_a_lock_that_somebody_else_has_is_lost_once_and_stays_theirs(link: AsyncClient) -> None:
    holder = Holder(link, ttl_s=0.06)
    async with holder.held():
        await link.set(KEY, "another")
        await asyncio.wait_for(holder.is_lost.wait(), 10)
        await asyncio.sleep(0.1)
        assert holder.told == ["lost"]
    assert await link.get(KEY) == "another"


async def test_a_lock_is_lost_when_redis_is_silent_until_its_life_is_over(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as server:
        link = connect(server.url)
        holder = Holder(link, ttl_s=0.1)
        async with holder.held():
            server.kill()
            began_s = monotonic()
            await asyncio.wait_for(holder.is_lost.wait(), 10)
            assert monotonic() - began_s > 0.05  # a first failure is no loss yet
            assert holder.told == ["lost"]
        await link.aclose()


def own_all_slots(url: str) -> None:
    with redis.Redis.from_url(url) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO"):
            sleep(0.02)


@pytest.mark.slow
async def test_a_cluster_takes_it_too(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, options={"cluster-enabled": "yes", "appendonly": "no"}) as server:
        own_all_slots(server.url)
        link = connect(server.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
        holder = Holder(link, ttl_s=0.06)
        async with holder.held():
            await asyncio.sleep(0.1)
            with pytest.raises(StoppedError):
                await Holder(link).held().__aenter__()
        assert holder.told == []
        await link.aclose()


def test_an_endpoint_has_one_name_for_all_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "http://gpu-7:8000/v1/")
    plain = ManagedDeployment("smart", Facts("a", "openai/m"), "http://gpu-7:8000/v1")
    from_environment = ManagedDeployment("other", Facts("b", "openai/m"), "os.environ/BASE")
    assert endpoint_of(plain) == endpoint_of(from_environment)
    assert endpoint_of(plain) != endpoint_of(ManagedDeployment("smart", Facts("a", "openai/n"), "http://gpu-7:8000/v1"))
    assert "gpu" not in endpoint_of(plain)
