"""One worker's comparisons, from a request that ended to the sums in Redis. The deployments are fakes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from slo_router.contract.model import Facts, Metrics
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.live.circuit import Circuit
from slo_router.worker.pairing.asking import Call, Reply
from slo_router.worker.pairing.comparisons import Comparisons, Control
from slo_router.worker.pairing.paired import AFTER_S, LONGEST_WAIT_S, Finished, ShadowEvaluation
from slo_router.worker.pairing.purse import Use, spent_usd
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from tests.shared.days import stay_within_a_day

SMALL = Facts("small", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6, quality={"default": 0.85})
LARGE = Facts("large", "m", input_usd_per_token=1e-5, output_usd_per_token=1e-5)
JUDGE = Facts("judge-1", "m", input_usd_per_token=1e-6, output_usd_per_token=1e-6)
BILL_USD = 0.001
FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["n"]}}}
KEPT, BROKEN = '{"n": 1}', '{"m": 1}'
WITHIN_S = 60.0
MESSAGES = [{"role": "user", "content": "Hello"}]


class Made:
    """Fake deployments: they answer as told, and keep what they were asked."""

    def __init__(self) -> None:
        self.prices: dict[str, Facts] = {"small": SMALL, "large": LARGE, "judge-1": JUDGE}
        self.answers: dict[str, str] = {"small": "small again", "large": "large", "judge-1": "Verdict: B"}
        self.is_whole = True
        self.asked: list[tuple[str, str]] = []

    def facts(self, name: str) -> Facts | None:
        return self.prices.get(name)

    def deployments(self, group: str) -> Sequence[str]:
        return ["judge-1"] if group == "judge" else []

    async def ask(self, name: str, call: Call) -> Reply:
        self.asked.append((name, call.messages[-1]["content"]))
        text = self.answers[name]
        if text == "prefers large":
            shown = call.messages[0]["content"]
            text = "Verdict: A" if shown.index("large") < shown.index("my answer") else "Verdict: B"
        return Reply(text, BILL_USD, self.is_whole)


class Worker:
    """One worker's shadow evaluation, with a real Valkey."""

    def __init__(self, link: AsyncClient, **settings: object) -> None:
        asked = {"judge": "judge", "usd_per_day": 5.0, "share": 1.0, "control_share": 0.0, **settings}
        group = GroupSettings.model_validate({"min_quality": 0.8, "shadow_evaluation": asked})
        self.strategy = Strategy(PluginSettings(groups={"smart": group}), MetricsStore(""))
        self.strategy.know([ManagedDeployment("smart", SMALL), ManagedDeployment("smart", LARGE)])
        graded = Metrics(time.time(), quality_score=0.95, quality_n=1_000, quality_at_s=time.time())
        self.strategy.store.snapshot = make_snapshot({"large": {"chat": graded}}, time.time())
        self.made, self.outcomes = Made(), Counter[str]()
        self.paired = ShadowEvaluation("", self.strategy, self.made, lambda _, outcome: self.outcomes.update([outcome]))
        self._link = link

    async def use(self, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
        await work(self._link)

    async def after(self, *finished: Finished, use: Use | None = None) -> str:
        """Compares the answers of ended requests. Returns the only outcome."""
        for one in finished or (ended(),):
            self.paired.offer(one)
        async with asyncio.timeout(WITHIN_S):
            while self.outcomes.total() < max(len(finished), 1):
                await self.paired.round(use or self.use)
                await asyncio.sleep(0.05)
        (outcome,) = self.outcomes
        return outcome


def ended(ago_s: float = AFTER_S, **changed: object) -> Finished:
    usd: Mapping[str, float] = {"small": 1e-4, "large": 1e-3}
    ended_s = time.time() - ago_s
    return Finished("smart", "chat", 0.8, "small", usd, MESSAGES, {}, "my answer", ended_s)._replace(**changed)  # type: ignore[arg-type]


async def read(link: AsyncClient) -> Comparisons:
    found = Comparisons("")
    await found.refresh(link, time.time())
    return found


async def test_the_same_is_asked_of_another_and_the_judge_sees_both_orders(link: AsyncClient) -> None:
    worker = Worker(link)
    worker.made.answers["judge-1"] = "prefers large"
    assert await worker.after() == "worse"
    names = [name for name, _ in worker.made.asked]
    assert names == ["large", "judge-1", "judge-1"]
    there, back = (text for name, text in worker.made.asked if name == "judge-1")
    assert (there.index("my answer") < there.index("large"), back.index("my answer") < back.index("large")) == (
        True,
        False,
    )
    (row,) = (await read(link)).rows
    assert (row.one, row.other, row.category, row.wins, row.ties, row.losses) == ("large", "small", "chat", 1, 0, 0)
    assert (await spent_usd(link, "", time.time()))["smart"] == pytest.approx(3 * BILL_USD)


async def test_a_judge_that_goes_by_position_makes_a_tie(link: AsyncClient) -> None:
    assert await Worker(link).after() == "tie"


async def test_equal_answers_are_a_tie_and_cost_no_judge(link: AsyncClient) -> None:
    worker = Worker(link)
    worker.made.answers["large"] = "my answer"
    assert await worker.after() == "tie"
    assert [name for name, _ in worker.made.asked] == ["large"]


async def test_a_control_asks_the_same_deployment_and_is_no_comparison(link: AsyncClient) -> None:
    worker = Worker(link, control_share=1.0)
    assert await worker.after() == "control"
    assert [name for name, _ in worker.made.asked] == ["small", "judge-1", "judge-1"]
    found = await read(link)
    assert (found.rows, found.controls) == ([], {"judge": Control(second=2)})


@pytest.mark.parametrize(
    ("mine", "other", "outcome"),
    [(KEPT, KEPT, "tie"), (KEPT, BROKEN, "better"), (BROKEN, KEPT, "worse"), (BROKEN, "no JSON", "tie")],
)
async def test_a_schema_tells_without_a_judge(link: AsyncClient, mine: str, other: str, outcome: str) -> None:
    worker = Worker(link, judge=None, grader="schema", control_share=1.0)
    worker.made.answers["large"] = other
    assert await worker.after(ended(answer=mine, form=FORM)) == outcome
    assert [name for name, _ in worker.made.asked] == ["large"]
    assert (await read(link)).controls == {}


async def test_of_two_answers_that_keep_the_schema_the_judge_says_which_is_better(link: AsyncClient) -> None:
    for mine, judged in ((KEPT, 2), (BROKEN, 0)):
        worker = Worker(link, grader="schema")
        worker.made.answers["large"] = KEPT.replace("1", "2")
        assert await worker.after(ended(answer=mine, form=FORM)) == ("worse" if mine == BROKEN else "tie")
        assert [name for name, _ in worker.made.asked] == ["large", *["judge-1"] * judged]


@pytest.mark.parametrize(("settings", "form"), [({"judge": None, "grader": "schema"}, None), ({}, FORM)])
async def test_a_request_of_which_nobody_tells_is_not_asked_again(
    link: AsyncClient, settings: dict[str, object], form: dict[str, object] | None
) -> None:
    worker = Worker(link, **settings)
    worker.paired.offer(ended(form=form))
    for _ in range(3):
        await worker.paired.round(worker.use)
        await asyncio.sleep(0.02)
    assert (worker.made.asked, worker.outcomes) == ([], Counter())


async def test_an_answer_that_went_out_just_now_waits_and_an_old_one_is_dropped(link: AsyncClient) -> None:
    worker = Worker(link)
    worker.paired.offer(ended(LONGEST_WAIT_S + 1))
    worker.paired.offer(ended(0))
    for _ in range(3):
        await worker.paired.round(worker.use)
        await asyncio.sleep(0.02)
    assert (worker.made.asked, worker.outcomes) == ([], Counter())


async def test_what_could_pass_the_budget_is_not_asked(link: AsyncClient) -> None:
    stay_within_a_day(15.0)
    worker = Worker(link, usd_per_day=0.001)
    assert await worker.after() == "over_budget"
    assert worker.made.asked == []
    assert (await spent_usd(link, "", time.time()))["smart"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["large", "judge-1"])
async def test_without_a_known_price_nobody_is_asked_and_it_is_said_once(
    link: AsyncClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(link)
    worker.made.prices[name] = replace(LARGE, input_usd_per_token=None)
    assert await worker.after(ended(), ended()) == "unpriced"
    assert worker.made.asked == []
    assert caplog.text.count("no known price") == 1


async def test_nothing_is_asked_that_could_change_no_decision(link: AsyncClient) -> None:
    """There is no floor, or both pass it by far, or the request may ask no other deployment."""
    for changed in ({"floor": None}, {"floor": 0.01}, {"usd": {"small": 1e-4}}):
        worker = Worker(link)
        assert await worker.after(ended(**changed)) == "not_worth_it"
        assert worker.made.asked == []


async def test_who_is_known_to_be_away_is_not_asked(link: AsyncClient) -> None:
    worker = Worker(link)
    worker.strategy.live.state("large").circuit = Circuit(failures=3, is_open=True)
    assert await worker.after() == "away"
    assert await Worker(link, judge="nobody").after() == "away"


@pytest.mark.parametrize(("said", "is_whole", "outcome"), [("Verdict: A", False, "cut"), ("Hm.", True, "unreadable")])
async def test_what_cannot_be_compared_counts_for_nothing_and_is_paid(
    link: AsyncClient, said: str, is_whole: bool, outcome: str
) -> None:
    worker = Worker(link)
    worker.made.answers["judge-1"], worker.made.is_whole = said, is_whole
    assert await worker.after() == outcome
    assert not (await read(link)).rows
    assert (await spent_usd(link, "", time.time()))["smart"] == pytest.approx(BILL_USD * len(worker.made.asked))


async def test_a_call_that_breaks_is_told_without_its_words(
    link: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(link)
    del worker.made.answers["large"]
    assert await worker.after() == "failed"
    assert "KeyError" in caplog.text
    assert "large'" not in caplog.text


def test_a_share_is_drawn_and_none_where_it_is_off() -> None:
    group = {"shadow_evaluation": {"judge": "j", "usd_per_day": 1, "share": 0.3}}
    off = {"shadow_evaluation": {"judge": "j", "usd_per_day": 1}}
    groups = {name: GroupSettings.model_validate(one) for name, one in (("on", group), ("off", off), ("none", {}))}
    paired = ShadowEvaluation("", Strategy(PluginSettings(groups=groups), MetricsStore("")), Made(), lambda *_: None)
    drawn = {name: sum(paired.wants(name) for _ in range(2_000)) for name in (*groups, "unmanaged")}
    assert 450 < drawn.pop("on") < 750
    assert drawn == {"off": 0, "none": 0, "unmanaged": 0}
