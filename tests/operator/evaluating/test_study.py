"""Routers on made-up outcomes whose best choice is known by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from slo_router.operator.evaluating.grouping import OURS, groups_of
from slo_router.operator.evaluating.ladder import Data, Ladder, learn, rungs
from slo_router.operator.evaluating.study import (
    CONSTANT,
    MIX,
    ORACLE,
    Standing,
    learning_curve,
    split,
    standings,
    verdict,
)
from slo_router.operator.evaluating.table import Choice, Table, select


def outcomes(easy_cheap: float, hard_cheap: float, prompts: int = 600) -> Table:
    """Half the prompts are easy. `large` answers nine in ten right at 10 USD, `small` these shares at 1 USD."""
    rng = np.random.default_rng(1)
    easy = np.arange(prompts) % 2 == 0
    small = rng.random(prompts) < np.where(easy, easy_cheap, hard_cheap)
    columns: dict[str, Sequence[object]] = {
        "prompt": ["a prompt"] * prompts,
        "category": ["easy" if one else "hard" for one in easy],
        "score::large": (rng.random(prompts) < 0.9).astype(float).tolist(),
        "cost::large": [10.0] * prompts,
        "score::small": small.astype(float).tolist(),
        "cost::small": [1.0] * prompts,
    }
    return select(columns, Choice(), "made up")


def stand(table: Table) -> dict[str, Standing]:
    found = standings(table, groups_of(table, asks_litellm=False)[0], [0.99], 5)
    return {one.router: one for one in found}


def test_where_a_category_is_easy_ours_costs_half_and_keeps_the_quality() -> None:
    """Easy prompts to `small`: (1 + 10) ÷ 2 ÷ 10 = 0.55; a random mix that keeps 99 % needs nearly all of the cost."""
    found = stand(outcomes(0.9, 0.3))
    ours = found[OURS].targets[0]
    assert ours.cost.mean == pytest.approx(0.55, abs=0.06)
    assert ours.quality.mean == pytest.approx(0.99, abs=0.03)
    assert found[MIX].targets[0].cost.mean > 0.9
    assert found[ORACLE].targets[0].cost.mean < ours.cost.mean
    assert found[OURS].apgr.mean > found[MIX].apgr.mean + 0.1
    assert f"cheaper than the best constant model: {OURS}" in verdict(list(found.values()))[0]


def test_where_one_model_is_best_and_cheap_no_router_beats_it() -> None:
    """`small` answers as well as `large` everywhere."""
    found = stand(outcomes(0.95, 0.95))
    assert found[CONSTANT].targets[0].cost.mean == pytest.approx(1.0)  # small is the strongest itself
    assert "no router beats the best constant model" in verdict(list(found.values()))[0]


def test_where_categories_tell_nothing_ours_is_a_random_mix() -> None:
    found = stand(outcomes(0.6, 0.6, 3_000))
    assert found[OURS].targets[0].cost.mean == pytest.approx(found[MIX].targets[0].cost.mean, abs=0.05)


def test_every_prompt_is_tested_once_in_five_seeds_alike_in_each_category() -> None:
    strata = np.array([0, 1, 1, 1] * 50)
    parts = [split(strata, seed) for seed in range(5)]
    assert sorted(np.concatenate([test for _, _, test in parts])) == list(range(200))
    for training, validation, test in parts:
        assert len(training) + len(validation) + len(test) == 200
        assert not set(training) & set(test)
        assert strata[test].mean() == pytest.approx(0.75, abs=0.02)


def test_thin_groups_take_the_models_mean() -> None:
    """Only chance distinguishes the two groups."""
    rng = np.random.default_rng(2)
    score = (rng.random((40, 3)) < 0.5).astype(float)
    learned = learn(Data(score, np.ones((40, 3))), np.arange(40) % 20, 20)
    assert np.abs(learned.score - score.mean(axis=0)).max() < 0.2


def test_a_rung_that_validation_shows_below_a_cheaper_one_is_levelled() -> None:
    """0.5, 0.8, 0.6, 0.9 is read as 0.5, 0.7, 0.7, 0.9; 0.6 lies half way up the first step."""
    scores, costs = np.array([0.5, 0.8, 0.6, 0.9]), np.array([1.0, 2.0, 3.0, 4.0])
    ladder = rungs(Data(scores, costs), Data(scores, costs))
    assert ladder.seen.score.tolist() == pytest.approx([0.5, 0.7, 0.7, 0.9])
    assert ladder.keeping(0.6) == pytest.approx((1.5, 0.65))
    assert ladder.keeping(2.0) == pytest.approx((4.0, 0.9))
    assert Ladder(*ladder).area(1.0, 2.0) == pytest.approx(0.65, abs=1e-3)


def test_the_curve_counts_prompts_and_learns() -> None:
    table = outcomes(0.9, 0.3)
    curve = learning_curve(table, groups_of(table, asks_litellm=False)[0], 0.99, 5)
    ours = [one for one in curve if one.router == OURS]
    assert [one.labels for one in ours] == [50, 100, 300]
    assert ours[-1].apgr.mean > next(one for one in curve if (one.labels, one.router) == (300, MIX)).apgr.mean


def test_figures_are_plain_numbers() -> None:
    """A study saves figures as JSON, and numpy's own booleans are not JSON."""
    at = stand(outcomes(0.9, 0.3))[OURS].targets[0]
    assert {type(value) for figure in (at.cost, at.quality, at.over_mix) for value in figure} == {float}
