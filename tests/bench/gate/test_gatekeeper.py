"""The gate over several nights, on a real Valkey: what it compares, holds, releases, records and reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from slo_bench.errors import BenchError
from slo_bench.gate.alerts import latest_alerts
from slo_bench.gate.entry import Entry
from slo_bench.gate.gatekeeper import accept, conclude, review
from slo_bench.gate.history import HistoryCell, latest
from slo_bench.gate.ruling import GatePolicy
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import QUALITY_HELD
from slo_router.contract.redis.link import AsyncClient, connect
from tests.bench.gate.gate_runs import answers, quality_run

NER = HistoryCell("quality", "small", "ner")
GOOD, BAD = answers(200, 20), answers(200, 60)


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


async def night(link: AsyncClient, *run: Entry) -> list[str | None]:
    """Puts a run through the gate. Returns the verdicts."""
    found = await review(link, "", run, GatePolicy())
    await conclude(link, "", found)
    return [entry.verdict for entry in found.entries]


async def test_a_bad_run_never_becomes_what_the_next_is_compared_with(link: AsyncClient) -> None:
    nights = [await night(link, quality_run(scores, at_s)) for at_s, scores in enumerate((GOOD, GOOD, BAD, BAD, GOOD))]
    assert nights == [["first"], ["good"], ["regressed"], ["regressed"], ["good"]]
    found = await latest_alerts(link, "")
    assert [alert.at_s for alert in found] == [2.0, 3.0]
    assert (found[0].before, found[0].after, found[0].baseline_at_s) == (0.9, 0.7, 1.0)
    assert found[0].line().startswith("ALERT small ner: quality_score 0.9 → 0.7 (-0.2, 95 % -0.25")


async def test_a_held_deployment_stays_held_under_a_new_suite_until_it_is_accepted(link: AsyncClient) -> None:
    for at_s, scores in enumerate((GOOD, BAD)):
        await night(link, quality_run(scores, at_s))
    renewed = replace(quality_run(BAD, 3.0), fingerprint="suite-2")
    assert await night(link, renewed) == ["regressed"]
    assert (await latest_alerts(link, ""))[-1].before is None
    key = metrics_key("", "small", "ner")
    await link.hset(key, mapping={"quality_score": "0.7", QUALITY_HELD: "1"})
    assert (await accept(link, "", "small", "ner")).verdict == "accepted"
    assert await link.hgetall(key) == {"quality_score": "0.7"}
    assert await night(link, replace(renewed, at_s=4.0)) == ["good"]


async def test_a_held_deployment_is_released_by_a_run_within_the_allowance_alone(link: AsyncClient) -> None:
    """A drop of 2.5 points may be chance (p = 0.02): a good deployment stays good, a held one has proved nothing."""
    doubtful = answers(200, 25)
    runs = (GOOD, BAD, doubtful, answers(200, 23))
    nights = [await night(link, quality_run(scores, at_s)) for at_s, scores in enumerate(runs)]
    assert nights == [["first"], ["regressed"], ["regressed"], ["good"]]
    others = [await night(link, quality_run(scores, category="chat")) for scores in (GOOD, doubtful)]
    assert others == [["first"], ["good"]]


async def test_nothing_can_be_accepted_before_a_run(link: AsyncClient) -> None:
    with pytest.raises(BenchError, match="--accept: small has no quality run in ner"):
        await accept(link, "", "small", "ner")


async def test_a_run_over_the_same_kept_answers_enters_once(link: AsyncClient) -> None:
    assert await night(link, quality_run(GOOD)) == ["first"]
    assert await night(link, quality_run(GOOD)) == ["good"]
    assert len(await latest(link, "", NER)) == 1


async def test_an_unsure_run_is_asked_again_and_judged_on_all_answers(link: AsyncClient) -> None:
    """Eight items fell at the first look; at the second all of them were right again."""
    await night(link, quality_run(answers(400, 40)))
    asked: list[Sequence[str]] = []

    async def again(categories: Sequence[str]) -> list[Entry]:
        asked.append(categories)
        return [quality_run(answers(400, 40), 3.0)]

    found = await review(link, "", [quality_run(answers(400, 48), 2.0)], GatePolicy(), again)
    assert asked == [["ner"], ["ner"]]  # p = 0.005, then 0.02 over the means of two answers
    (entry,) = found.entries
    assert (entry.verdict, entry.n, found.alerts) == ("good", 1200, ())
    assert entry.scores["item-41"] == pytest.approx(2 / 3)
    assert entry.figures["quality_score"] == pytest.approx(0.9 - 8 / 400 / 3)


async def test_without_more_answers_the_look_is_the_last(link: AsyncClient) -> None:
    await night(link, quality_run(answers(400, 40)))

    async def nothing(_: Sequence[str]) -> list[Entry]:
        return []

    for at_s, (wrong, verdict) in enumerate([(48, "good"), (50, "regressed")]):
        found = await review(link, "", [quality_run(answers(400, wrong), 2.0 + at_s)], GatePolicy(), nothing)
        assert [entry.verdict for entry in found.entries] == [verdict]
