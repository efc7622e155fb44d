"""The history in Redis is read back, bounded, and robust against other writers. Its good runs make the baseline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from slo_bench.gate.baseline import RUNS, baseline
from slo_bench.gate.entry import Entry, GateVerdict, decoded, encode
from slo_bench.gate.history import KEPT, HistoryCell, cells, latest, record
from slo_router.contract.redis.link import AsyncClient, connect
from tests.bench.gate.gate_runs import quality_run

NER = HistoryCell("quality", "small", "ner")


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[AsyncClient]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


def run(at_s: float, score: float, verdict: GateVerdict | None = "good") -> Entry:
    return quality_run({"a": score, "b": 1.0}, at_s, verdict=verdict)


def test_an_entry_survives_its_text_and_fields_of_later_versions_are_left_out() -> None:
    entry = run(1.5, 0.25)
    assert decoded(encode(entry), Entry) == entry
    assert decoded(encode(entry)[:-1] + ', "later": 1}', Entry) == entry


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"kind": "speed"}', "\ud800"])
def test_what_is_no_entry_is_none(text: str) -> None:
    assert decoded(text, Entry) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="small ner: expected finite numbers"):
        encode(run(1.0, value))


async def test_runs_come_back_oldest_first_and_by_cell(link: AsyncClient) -> None:
    other = replace(run(2.0, 1.0), kind="latency", category="a:b", scores={})
    for entry in (run(1.0, 0.5), other, run(3.0, 0.75)):
        await record(link, "team:", entry)
    assert await cells(link, "team:") == [HistoryCell("latency", "small", "a:b"), NER]
    assert [entry.at_s for entry in await latest(link, "team:", NER)] == [1.0, 3.0]
    assert await latest(link, "team:", NER, count=1) == [run(3.0, 0.75)]
    assert await latest(link, "other:", NER) == []


async def test_the_history_is_bounded_and_skips_what_it_cannot_read(link: AsyncClient) -> None:
    for at_s in range(KEPT + 2):
        await record(link, "", run(float(at_s), 0.5))
    assert [entry.at_s for entry in await latest(link, "", NER)][:1] == [2.0]
    await link.xadd(NER.key(""), {"entry": "broken"})
    await link.xadd(NER.key(""), {"other": "x"})
    assert (await latest(link, "", NER))[-1].at_s == KEPT + 1
    await link.sadd("slo_bench:history", '["speed", "small", "ner"]', "no json")
    assert await cells(link, "") == [NER]


# --- baseline


def test_the_baseline_is_the_mean_of_the_first_good_runs() -> None:
    found = baseline([run(1.0, 1.0, "first"), run(2.0, 0.0), run(3.0, 0.5, "regressed")], "suite-1")
    assert found is not None
    assert (dict(found.scores), found.runs, found.at_s) == ({"a": 0.5, "b": 1.0}, 2, 2.0)
    many = baseline([run(1.0, 1.0, "first"), *(run(float(at_s), 0.0) for at_s in range(2, 20))], "suite-1")
    assert many is not None
    assert (many.runs, many.scores["a"]) == (RUNS, 1 / RUNS)


@pytest.mark.parametrize("verdict", ["better", "accepted"])
def test_a_better_or_accepted_run_starts_afresh(verdict: GateVerdict) -> None:
    found = baseline([run(1.0, 0.0, "first"), run(2.0, 0.5, verdict), run(3.0, 1.0)], "suite-1")
    assert found is not None
    assert (found.scores["a"], found.runs) == (0.75, 2)


def test_runs_of_another_suite_or_without_a_verdict_are_no_baseline() -> None:
    assert baseline([run(1.0, 1.0, "first")], "suite-2") is None
    assert baseline([run(1.0, 1.0, None), run(2.0, 1.0, "regressed")], "suite-1") is None


def test_an_item_with_more_answers_weighs_more() -> None:
    thrice = replace(run(1.0, 1.0, "first"), n=6)
    found = baseline([thrice, run(2.0, 0.0)], "suite-1")
    assert found is not None
    assert found.scores["a"] == 0.75
