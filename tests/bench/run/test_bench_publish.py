"""Writing to Redis: whole hashes. Last good values and other writers' fields are kept; unmeasured fields are absent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evaluation.shared.valkey_server import ValkeyServer
from slo_bench.load.plan import Cell
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.run.publish import OWNED_FIELDS, publish
from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import summarize
from slo_router.contract.metrics_hash import read_metrics
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient, connect

KEY = "team:metrics:small:ner"
FAST = Sample(0.1, 0.5, 100, 5)
FACTS = Facts("small", "openai/small", input_usd_per_token=1e-6, output_usd_per_token=1e-6)


def result(*samples: Sample, at_s: float = 1_700_000_000.0) -> CellResult:
    cell = Cell(FACTS, Target("small", "small", "http://gpu/v1"), "ner", ())
    return CellResult(cell, summarize(samples, wall_s=2.0), at_s)


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


async def stored(link: AsyncClient) -> dict[str, str]:
    return {str(name): str(value) for name, value in (await link.hgetall(KEY)).items()}


async def test_the_router_reads_back_what_was_measured(link: AsyncClient) -> None:
    await publish(link, "team:", result(FAST, Sample(0.3, 0.9, 100, 7), Sample(error="timeout")))
    metrics, bad = read_metrics(await stored(link), 1_700_000_001.0)
    assert bad == []
    assert metrics is not None
    assert (metrics.ttft_s, metrics.ttft_p50_s) == pytest.approx((0.2, 0.2))
    assert metrics.ttft_p95_s == pytest.approx(0.29)  # 0.1 + 0.95 × 0.2
    assert metrics.tpot_s == pytest.approx(0.1)  # both (0.5 − 0.1) / 4 and (0.9 − 0.3) / 6
    assert metrics.throughput_tps == pytest.approx(6.0)  # 12 tokens in 2 s
    assert metrics.cost_per_1k_usd == pytest.approx(0.001)
    assert metrics.error_rate == pytest.approx(1 / 3)
    assert (metrics.samples, metrics.output_tokens_mean, metrics.prompt_tokens_mean) == (2, 6.0, 100.0)


async def test_what_was_not_measured_is_absent_and_not_zero(link: AsyncClient) -> None:
    await publish(link, "team:", result(FAST))
    await publish(link, "team:", result(Sample(0.1, 0.5)))  # no usage this time: no tokens, no TPOT, no cost
    assert set(await stored(link)) == {
        *("schema", "timestamp", "ttft_ms", "ttft_p50_ms", "ttft_p95_ms", "error_rate", "samples")
    }


async def test_a_deployment_that_answered_nothing_keeps_its_last_good_values(link: AsyncClient) -> None:
    await publish(link, "team:", result(FAST))
    before = await stored(link)
    await publish(link, "team:", result(Sample(error="http_500"), at_s=1_700_009_999.0))
    failed = {"error_rate": "1", "error_timestamp": "1700009999.000"}  # `timestamp` still tells the latencies' age
    assert await stored(link) == before | failed
    metrics, _ = read_metrics(await stored(link), 1_700_010_000.0)
    assert metrics is not None
    assert (metrics.measured_at_s, metrics.failed_at_s) == (1_700_000_000.0, 1_700_009_999.0)
    await publish(link, "team:", result(FAST, at_s=1_700_020_000.0))
    assert "error_timestamp" not in await stored(link)  # all of it is of one time again


async def test_a_deployment_that_never_answered_is_readable_as_failing(link: AsyncClient) -> None:
    await publish(link, "team:", result(Sample(error="http_500")))
    metrics, _ = read_metrics(await stored(link), 1_700_000_001.0)
    assert metrics is not None
    assert (metrics.error_rate, metrics.ttft_s, metrics.samples) == (1.0, None, None)


async def test_quality_and_unknown_fields_of_others_stay(link: AsyncClient) -> None:
    others = {"quality_score": "0.8", "quality_n": "40", "fit_a": "1.5"}
    await link.hset(KEY, mapping=others)  # type: ignore[arg-type]
    for outcome in (result(FAST), result(Sample(error="timeout"))):
        await publish(link, "team:", outcome)
        assert (await stored(link)).items() >= others.items()


def test_the_agent_owns_every_field_of_the_contract_but_quality() -> None:
    assert {"ttft_ms", "throughput_tps", "cost_per_1k", "error_rate", "timestamp"} <= OWNED_FIELDS
    assert not {"quality_score", "quality_n"} & OWNED_FIELDS


async def test_a_reader_never_sees_a_mix_of_old_and_new(link: AsyncClient) -> None:
    slow = Sample(1.0, 5.0)  # ten times the TTFT, and no tokens: fewer fields
    seen: list[dict[str, str]] = []
    last = asyncio.Event()

    async def watch() -> None:
        while not last.is_set():
            seen.append(await stored(link))

    watcher = asyncio.create_task(watch())
    for _ in range(100):
        await publish(link, "team:", result(FAST, at_s=1.0))
        await publish(link, "team:", result(slow, at_s=2.0))
    last.set()
    await watcher
    whole = {("1.000", "100", True), ("2.000", "1000", False)}
    assert {(f["timestamp"], f["ttft_ms"], "tpot_ms" in f) for f in seen if f} <= whole
    assert len(seen) > 50


async def test_a_cluster_takes_the_same_transaction(tmp_path: Path) -> None:
    options = {"cluster-enabled": "yes", "appendonly": "no"}
    with ValkeyServer(tmp_path, options=options) as server:
        server.own_all_slots()
        client = connect(server.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
        await publish(client, "team:", result(FAST))
        await publish(client, "team:", result(Sample(error="timeout")))
        fields = await stored(client)
        await client.aclose()
    assert (fields["ttft_ms"], fields["error_rate"]) == ("100", "1")
