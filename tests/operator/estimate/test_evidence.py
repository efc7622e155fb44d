"""Whether a candidate is good enough: shown, stated, open or not; and how many answers would decide it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from slo_router.contract.settings.group import GroupSettings
from slo_router.errors import SettingsError
from slo_router.operator.estimate.evidence import Evidence, Judgement, Measured, Quality, Served, Verdict
from slo_router.operator.estimate.outcomes import Outcomes, read_outcomes
from tests.operator.estimate.worlds import LARGE, SMALL, write

ANSWERS = Served("large", "openai/large", LARGE)


def judged(
    *,
    task: str = "chat",
    floor: dict[str, float] | None = None,
    stated: dict[str, float] | None = None,
    present: dict[str, float] | None = None,
    measured: Measured | None = None,
    outcomes: Outcomes | None = None,
    keep: float = 0.95,
) -> Judgement:
    groups = {} if floor is None else {"big": GroupSettings(min_quality=floor)}
    served = Served("large", "openai/large", replace(LARGE, quality=present or {}))
    candidate = replace(SMALL, quality=stated or {})
    return Evidence(groups, measured or {}, outcomes, keep, 0.9).judge(candidate, served, "big", task)


def test_nobody_knows_and_so_many_prompts_would_tell() -> None:
    found = judged()
    assert found.verdict is Verdict.OPEN
    assert found.needed == math.ceil(0.2 * ((1.28155 + 0.84162) / 0.05) ** 2)  # z of 0.9 and of 0.8
    assert judged(keep=1.0).needed is None  # no number shows that two are exactly alike


def test_a_stated_quality_is_held_against_the_groups_floor() -> None:
    assert judged(floor={"default": 0.8}, stated={"default": 0.85}).verdict is Verdict.STATED
    assert judged(floor={"default": 0.8}, stated={"default": 0.75}).verdict is Verdict.NO
    assert judged(floor={"default": 0.5, "chat": 0.8}, stated={"default": 0.75}).verdict is Verdict.NO


def test_without_a_floor_it_is_held_against_what_answers_now() -> None:
    assert judged(stated={"default": 0.86}, present={"default": 0.9}).verdict is Verdict.STATED  # 0.95 × 0.9 = 0.855
    assert judged(stated={"default": 0.85}, present={"default": 0.9}).verdict is Verdict.NO
    assert judged(stated={"default": 0.99}).verdict is Verdict.OPEN


@pytest.mark.parametrize(
    ("answers", "verdict"), [(20, Verdict.OPEN), (200, Verdict.SHOWN)]
)  # 0.85 has the lower end (one-sided 90 %) 0.72 and 0.81
def test_graded_answers_show_it_once_there_are_enough(answers: int, verdict: Verdict) -> None:
    found = judged(floor={"default": 0.8}, measured={("small", "chat"): Quality(0.85, answers)})
    assert found.verdict is verdict
    if verdict is Verdict.OPEN:
        assert found.needed == math.ceil(0.85 * 0.15 * (1.28155 / 0.05) ** 2)


def test_graded_answers_rule_it_out() -> None:
    assert judged(floor={"default": 0.8}, measured={("small", "chat"): Quality(0.5, 100)}).verdict is Verdict.NO


def test_what_answers_now_is_no_surer_than_its_own_answers() -> None:
    sure = {("small", "chat"): Quality(0.9, 400), ("large", "chat"): Quality(0.9, 400)}
    thin = {**sure, ("large", "chat"): Quality(0.9, 10)}
    assert judged(measured=sure).verdict is Verdict.SHOWN
    assert judged(measured=thin).verdict is Verdict.OPEN


def test_an_unknown_task_is_decided_where_all_tasks_agree() -> None:
    floor = {"default": 0.6, "reasoning": 0.8}
    assert judged(task="unknown", floor={"default": 0.6}, stated={"default": 0.7}).verdict is Verdict.STATED
    assert judged(task="unknown", floor=floor, stated={"default": 0.7}).verdict is Verdict.OPEN
    assert judged(task="unknown", floor=floor, stated={"default": 0.5}).verdict is Verdict.NO
    assert judged(task="reasoning", floor=floor, stated={"default": 0.7}).verdict is Verdict.NO


def test_a_table_of_outcomes_is_compared_prompt_by_prompt() -> None:
    hard = [0.0] * 50
    alike = Outcomes({"score::small": [1.0] * 150 + hard, "score::large": [1.0] * 150 + hard}, ["chat"] * 200)
    assert judged(outcomes=alike).verdict is Verdict.SHOWN
    worse = Outcomes({"score::small": [1.0] * 75 + [0.0] * 125, "score::large": [1.0] * 150 + hard}, ["chat"] * 200)
    assert judged(outcomes=worse).verdict is Verdict.NO
    few = Outcomes({"score::small": [1.0] * 9 + [0.0], "score::large": [1.0] * 10}, ["chat"] * 10)
    assert judged(outcomes=few).verdict is Verdict.OPEN
    assert judged(outcomes=alike, task="code").verdict is Verdict.OPEN  # not in the table


def test_a_table_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    good = read_outcomes(write(tmp_path / "a.csv", "category,score::a,outtok::a\nchat,1,20\nchat,,\n"))
    assert good.scores("a", "chat") == [1.0]
    with pytest.raises(SettingsError, match="no column score::MODEL"):
        read_outcomes(write(tmp_path / "b.csv", "category,score\nchat,1\n"))
    with pytest.raises(SettingsError, match=r"score::a: a score outside 0\.\.1"):
        read_outcomes(write(tmp_path / "c.csv", "score::a\n7\n"))
    with pytest.raises(SettingsError, match="score::a: 'x', expected a number or nothing"):
        read_outcomes(write(tmp_path / "d.csv", "score::a\nx\n"))


def test_lengths_come_from_the_table_where_it_has_them() -> None:
    table = Outcomes({"outtok::small": [100.0, 220.0] * 50, "outtok::large": [50.0, 110.0] * 50}, [])
    factor = table.factor("small", "large")
    assert factor is not None
    assert factor.middle == pytest.approx(2.0)
    assert factor.low == pytest.approx(factor.high)  # each answer twice as long
    assert Outcomes({"outtok::small": [1.0] * 9, "outtok::large": [1.0] * 9}, []).factor("small", "large") is None
