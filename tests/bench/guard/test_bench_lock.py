"""The endpoint's lock: one holder, which notices a loss; freed at the end and after a crash; without any address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import redis

from evaluation.shared.valkey_server import ValkeyServer
from evaluation.shared.virtual_time import VirtualLoop, run
from slo_bench.errors import StoppedError
from slo_bench.guard.lock import EndpointLock, endpoint_of
from slo_router.contract.keys import LOCK_KEY
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.contract.settings.deployments import ManagedDeployment

KEY = f"team:{LOCK_KEY}e1"


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


class Holder:
    """An agent that wants the lock of endpoint e1. The lock lasts half a minute and is renewed much more often."""

    def __init__(self, link: AsyncClient, ttl_s: float = 30.0) -> None:
        self.told: list[str] = []
        self.waits, self.is_lost = asyncio.Event(), asyncio.Event()
        self._lock = EndpointLock(link, "team:", "e1", ttl_s, renewed_every_s=0.02)

    def held(self, *, wait: bool = False) -> AbstractAsyncContextManager[None]:
        return self._lock.held(wait=wait, on_wait=self._wait, on_lost=self._lose)

    def _wait(self) -> None:
        self.told.append("waits")
        self.waits.set()

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
    await link.set(KEY, "another")
    second = Holder(link)
    holding = second.held(wait=True)
    entering = asyncio.create_task(holding.__aenter__())
    await asyncio.wait_for(second.waits.wait(), 60)
    assert not entering.done()
    await link.delete(KEY)  # as if a killed holder's lock expired
    await asyncio.wait_for(entering, 60)
    assert second.told == ["waits"]
    await holding.__aexit__(None, None, None)


async def renewed(link: AsyncClient, holder: Holder) -> None:
    """Returns when the lock has been renewed."""
    await link.pexpire(KEY, 15_000)
    async with asyncio.timeout(60):
        while await link.pttl(KEY) <= 15_000 and not holder.told:  # noqa: ASYNC110  # Redis knows, and tells nobody
            await asyncio.sleep(0.01)
    assert holder.told == []


async def test_it_is_renewed_for_as_long_as_it_is_held(link: AsyncClient) -> None:
    holder = Holder(link)
    async with holder.held():
        await renewed(link, holder)
        await renewed(link, holder)


async def test_a_lock_that_somebody_else_has_is_lost_once_and_stays_theirs(link: AsyncClient) -> None:
    holder = Holder(link)
    async with holder.held():
        await link.set(KEY, "another")
        await asyncio.wait_for(holder.is_lost.wait(), 60)
        await asyncio.sleep(0.1)  # time for five more renewals
        assert holder.told == ["lost"]
    assert await link.get(KEY) == "another"


async def test_a_lock_is_lost_when_redis_is_silent_until_its_life_is_over(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as server:
        link = connect(server.url)
        holder = Holder(link, ttl_s=0.1)
        async with holder.held():
            server.kill()
            await asyncio.wait_for(holder.is_lost.wait(), 60)
            assert holder.told == ["lost"]
        await link.aclose()


class Failing:
    """A Redis that answers when the lock is taken, and once more."""

    def __init__(self) -> None:
        self.renewals = 0

    async def acquire(self, **_: object) -> bool:
        return True

    async def reacquire(self) -> None:
        self.renewals += 1
        if self.renewals > 1:
            raise redis.ConnectionError

    release = reacquire


def test_a_failure_is_no_loss_until_the_life_since_the_last_renewal_is_over() -> None:
    async def main(loop: VirtualLoop) -> None:
        silent = Failing()
        lost_at_s: list[float] = []
        lock = EndpointLock(redis.asyncio.Redis(), "", "e1", ttl_s=30.0)
        lock._lock = silent  # type: ignore[assignment]
        async with lock.held(wait=False, on_wait=lambda: None, on_lost=lambda: lost_at_s.append(loop.time())):
            await asyncio.sleep(100)
        assert silent.renewals == 4 + 1  # every third of its life: well at 10 s, failing at 20, 30, 40; and freed
        assert lost_at_s == pytest.approx([40.0])

    run(main)


@pytest.mark.slow
async def test_a_cluster_takes_it_too(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, options={"cluster-enabled": "yes", "appendonly": "no"}) as server:
        server.own_all_slots()
        link = connect(server.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
        holder = Holder(link)
        async with holder.held():
            await renewed(link, holder)
            with pytest.raises(StoppedError):
                await Holder(link).held().__aenter__()
        await link.aclose()


def test_an_endpoint_has_one_name_for_all_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "http://gpu-7:8000/v1/")
    plain = ManagedDeployment("smart", Facts("a", "openai/m"), "http://gpu-7:8000/v1")
    from_environment = ManagedDeployment("other", Facts("b", "openai/m"), "os.environ/BASE")
    assert endpoint_of(plain) == endpoint_of(from_environment)
    assert endpoint_of(plain) != endpoint_of(ManagedDeployment("smart", Facts("a", "openai/n"), "http://gpu-7:8000/v1"))
    assert "gpu" not in endpoint_of(plain)
