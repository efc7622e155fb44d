"""Workers see each other through a real Redis: each writes its own key, dead workers disappear, rubbish is ignored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import redis

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.contract.redis.link import AsyncClient, connect
from slo_router.worker.sharing import Sharing


@pytest.fixture
def writer(server: ValkeyServer) -> Iterator[redis.Redis]:
    """The client of another program, which writes to Redis."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[AsyncClient]:
    async with connect(server.url) as link:
        yield link


def said(value: object) -> bytes:
    return json.dumps(value).encode()


async def meet(client: AsyncClient, *workers: Sharing) -> None:
    """Two rounds: workers learn a name in the first, and read its export from the second on."""
    for _ in range(2):
        for number, worker in enumerate(workers):
            await worker.exchange(client, said({"number": number}))


@pytest.mark.usefixtures("writer")
async def test_each_worker_reads_what_all_the_others_wrote(client: AsyncClient) -> None:
    workers = [Sharing("", 1.0) for _ in range(3)]
    await meet(client, *workers)
    heard = [await worker.exchange(client, said({"number": number})) for number, worker in enumerate(workers)]
    numbers = [sorted(msgspec.json.decode(export["number"]) for export in exports) for exports in heard]
    assert numbers == [[1, 2], [0, 2], [0, 1]]


async def test_a_worker_that_stopped_writing_disappears_with_its_name(client: AsyncClient, writer: redis.Redis) -> None:
    alive, dead = Sharing("team:", 1.0), Sharing("team:", 1.0)
    await meet(client, alive, dead)
    assert 0 < writer.ttl(f"team:{LIVE_KEY}{dead.worker}") <= 7  # 5 s and two intervals
    writer.delete(f"team:{LIVE_KEY}{dead.worker}")  # as Redis does when the key expires
    assert await alive.exchange(client, b"{}") == []
    assert writer.smembers(f"team:{WORKERS_KEY}") == {alive.worker}


@pytest.mark.parametrize("rubbish", ["", "{", "[1]", "null", '"text"', "\x00\xff"])
async def test_a_key_with_rubbish_is_ignored(client: AsyncClient, writer: redis.Redis, rubbish: str) -> None:
    worker = Sharing("", 1.0)
    writer.sadd(WORKERS_KEY, "stranger")
    writer.set(f"{LIVE_KEY}stranger", rubbish)
    await worker.exchange(client, b"{}")
    assert await worker.exchange(client, b"{}") == []


async def test_the_commands_of_a_round_do_not_depend_on_what_is_shared(
    client: AsyncClient, writer: redis.Redis
) -> None:
    worker = Sharing("", 1.0)
    await client.ping()  # a new connection introduces itself
    counts = []
    for size in (1, 10_000):
        before = int(writer.info("stats")["total_commands_processed"])
        await worker.exchange(client, said({"flights": list(range(size))}))
        counts.append(int(writer.info("stats")["total_commands_processed"]) - before)
    assert counts == [4, 4]  # set, sadd, smembers, and this test's `info`
