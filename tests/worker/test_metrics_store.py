"""The snapshot in memory has the contents of a real Redis without impossible values, and survives Redis' errors."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
import redis

from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.model import Metrics, Snapshot
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient, connect
from slo_router.worker.snapshot import MetricsStore, make_snapshot

CATEGORIES = ("ner", "chat")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def writer(server: ValkeyServer) -> Iterator[redis.Redis]:
    """The client of another program, which writes to Redis."""
    with redis.Redis(port=server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[AsyncClient]:
    async with connect(server.url) as link:
        yield link


def put(writer: redis.Redis, key: str, **fields: str) -> None:
    for name, value in {"timestamp": str(time.time()), **fields}.items():
        writer.hset(key, name, value)


def ttfts(store: MetricsStore) -> dict[str, dict[str, float | None]]:
    return {name: {c: m.ttft_s for c, m in rows.items()} for name, rows in store.snapshot.measured.items()}


async def test_every_managed_deployment_and_category_is_read_and_nothing_else(
    writer: redis.Redis, client: AsyncClient
) -> None:
    put(writer, "team:metrics:a:ner", ttft_ms="90")
    put(writer, "team:metrics:a:chat", ttft_ms="120")
    put(writer, "team:metrics:b:ner", ttft_ms="50")
    put(writer, "team:metrics:b:code", ttft_ms="1")  # not a category of ours
    put(writer, "team:metrics:other:ner", ttft_ms="1")  # not a deployment of ours
    put(writer, "metrics:c:ner", ttft_ms="1")  # not our prefix
    store, before_s = MetricsStore("team:"), time.time()
    await store.refresh(client, ["a", "b", "c"], CATEGORIES)
    assert ttfts(store) == {"a": {"ner": 0.09, "chat": 0.12}, "b": {"ner": 0.05}}
    assert store.snapshot.pooled["a"].ttft_s == 0.12
    assert before_s <= (store.snapshot.read_at_s or 0) <= time.time()
    assert store.dropped_values == 0


async def test_an_empty_redis_is_an_empty_snapshot_that_was_read(writer: redis.Redis, client: AsyncClient) -> None:
    assert writer.dbsize() == 0
    store = MetricsStore("")
    assert store.snapshot == Snapshot()
    await store.refresh(client, ["a"], CATEGORIES)
    assert store.snapshot.measured == {}
    assert store.snapshot.read_at_s is not None
    await store.refresh(client, [], CATEGORIES)  # no deployments yet


async def test_each_refresh_is_a_new_snapshot_and_the_old_one_does_not_change(
    writer: redis.Redis, client: AsyncClient
) -> None:
    store = MetricsStore("")
    put(writer, "metrics:a:ner", ttft_ms="90")
    await store.refresh(client, ["a"], CATEGORIES)
    first = store.snapshot
    writer.delete("metrics:a:ner")
    await store.refresh(client, ["a"], CATEGORIES)
    assert first.measured["a"]["ner"].ttft_s == 0.09
    assert store.snapshot.measured == {}


async def test_a_poisoned_value_is_dropped_counted_each_time_and_logged_once(
    writer: redis.Redis, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    put(writer, "metrics:a:ner", ttft_ms="nan", error_rate="7", cost_per_1k="0.5")
    put(writer, "metrics:b:ner", timestamp=str(time.time() + 3600), ttft_ms="1")  # from the future: not used at all
    store = MetricsStore("")
    with caplog.at_level(logging.WARNING, "slo_router"):
        for _ in range(2):
            await store.refresh(client, ["a", "b"], CATEGORIES)
    row = store.snapshot.measured["a"]["ner"]
    assert (row.ttft_s, row.error_rate, row.cost_per_1k_usd) == (None, None, 0.5)
    assert "b" not in store.snapshot.measured
    assert store.dropped_values == 6  # three values, two readings
    assert len(caplog.messages) == 3
    assert caplog.messages[0] == (
        "ignoring ttft_ms of metrics:a:ner in Redis: 'nan', expected a number from 0 to 1e+12"
    )


async def test_a_key_of_another_type_is_ignored_and_the_others_are_read(
    writer: redis.Redis, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    writer.set("metrics:a:ner", "90")
    writer.rpush("metrics:a:chat", "90")
    put(writer, "metrics:b:ner", ttft_ms="50")
    store = MetricsStore("")
    await store.refresh(client, ["a", "b"], CATEGORIES)
    assert ttfts(store) == {"b": {"ner": 0.05}}
    assert store.dropped_values == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


async def test_a_value_that_is_no_text_is_dropped_like_any_other(writer: redis.Redis, client: AsyncClient) -> None:
    put(writer, "metrics:a:ner", error_rate="0.1")
    writer.hset("metrics:a:ner", "ttft_ms", b"\xff\xfe")
    put(writer, "metrics:b:ner", ttft_ms="50")
    store = MetricsStore("")
    await store.refresh(client, ["a", "b"], CATEGORIES)
    assert ttfts(store) == {"a": {"ner": None}, "b": {"ner": 0.05}}
    assert store.dropped_values == 1


async def test_what_redis_refuses_raises_and_keeps_the_snapshot(writer: redis.Redis, client: AsyncClient) -> None:
    put(writer, "metrics:a:ner", ttft_ms="90")
    store = MetricsStore("")
    await store.refresh(client, ["a"], CATEGORIES)
    before = store.snapshot
    writer.acl_setuser("default", enabled=True, commands=["-hgetall"])
    try:
        with pytest.raises(LINK_ERRORS, match="no permissions"):
            await store.refresh(client, ["a"], CATEGORIES)
    finally:
        writer.acl_setuser("default", enabled=True, commands=["+hgetall"])
    assert store.snapshot is before
    assert store.dropped_values == 0
    await store.refresh(client, ["a"], CATEGORIES)
    assert store.snapshot is not before


class HalfDeadCluster:
    """A cluster's pipeline while a node dies: the node's keys give errors, the other keys values."""

    def pipeline(self, **_options: bool) -> HalfDeadCluster:
        return self

    def hgetall(self, key: str) -> None: ...

    async def execute(self, **_options: bool) -> list[object]:
        return [{"timestamp": str(time.time()), "ttft_ms": "90"}, redis.ConnectionError("Connection closed by server.")]


async def test_a_node_that_dies_among_others_raises_and_keeps_the_snapshot() -> None:
    store = MetricsStore("")
    before = store.snapshot
    with pytest.raises(LINK_ERRORS, match="closed by server"):
        await store.refresh(cast("AsyncClient", HalfDeadCluster()), ["a", "b"], ["ner"])
    assert store.snapshot is before
    assert store.dropped_values == 0


async def test_a_lost_redis_raises_keeps_the_snapshot_and_is_read_again_when_it_is_back(
    server: ValkeyServer, writer: redis.Redis, client: AsyncClient
) -> None:
    put(writer, "metrics:a:ner", ttft_ms="90")
    store = MetricsStore("")
    await store.refresh(client, ["a"], CATEGORIES)
    before = store.snapshot
    server.kill()
    for _ in range(2):
        with pytest.raises(LINK_ERRORS):
            await store.refresh(client, ["a"], CATEGORIES)
    assert store.snapshot is before
    server.start()
    await store.refresh(client, ["a"], CATEGORIES)
    assert store.snapshot.measured == before.measured
    assert (store.snapshot.read_at_s or 0) > (before.read_at_s or 0)


def test_pooled_metrics_are_worked_out_with_the_snapshot() -> None:
    snapshot = make_snapshot({"a": {"ner": Metrics(5.0, 0.1), "chat": Metrics(3.0, 0.4)}, "b": {}}, 9.0)
    assert snapshot.pooled == {"a": Metrics(3.0, 0.4)}
    assert snapshot.read_at_s == 9.0
