"""A worker's requests move the worth of quality, so that a group's target is just kept."""

from __future__ import annotations

import random

import pytest

from slo_router.contract.model import Assessment, Standing
from slo_router.contract.settings.group import GroupSettings, Target
from slo_router.quality.worth import LEAST_USD, MOST_USD, for_request
from slo_router.worker.learning.worths import ENOUGH, STEP, WINDOW, Worth, Worths
from tests.shared.builders import NOTHING_KNOWN, assessed

QUALITY = Target(quality_of_best=0.95)
DOLLARS = Target(usd_per_day=10.0)


class Half(random.Random):
    """A generator that always draws the middle."""

    def random(self) -> float:
        return 0.5


HALF = Half()
GROUP = GroupSettings(objective="value", target=QUALITY)


def option(name: str, quality: float | None, cost_usd: float | None, standing: Standing = Standing.MEETS) -> Assessment:
    return assessed(name, NOTHING_KNOWN._replace(quality=quality, cost_usd=cost_usd), standing, None)


def seen(worth: Worth, count: int, gain: float = 0.05) -> None:
    """Requests of growing length, for each of which `large` is better by `gain`."""
    for number in range(count):
        usd = 0.001 * (1 + number / count)
        pool = [option("small", 0.9 - gain, usd), option("large", 0.9, 10 * usd), option("ungraded", None, usd)]
        worth.see([*pool, option("late", 0.99, usd, Standing.MISSES)], pool[0])


def refitted(worth: Worth, each_usd: float | None = None) -> float:
    for _ in worth.refit(each_usd):
        pass
    return worth.usd


def test_before_anything_is_known_quality_has_the_best_and_a_budget_the_cheapest() -> None:
    assert Worth(QUALITY).usd == MOST_USD
    assert Worth(DOLLARS).usd == LEAST_USD


def test_the_first_worth_is_found_at_once_and_a_few_requests_tell_nothing() -> None:
    worth = Worth(QUALITY)
    seen(worth, ENOUGH - 1)
    assert refitted(worth) == MOST_USD
    seen(worth, 1)
    found = refitted(worth)
    assert found < 1.0
    assert refitted(worth) == found


def test_it_keeps_the_share_of_the_best_models_quality() -> None:
    """99 % of 0.9 is 0.891. If the other requests have 0.85, 82 of 100 must have 0.9."""
    worth = Worth(Target(quality_of_best=0.99))
    seen(worth, 100)
    found = refitted(worth)
    dear = sum(found * 0.05 > 0.009 * (1 + number / 100) for number in range(100))
    assert dear == pytest.approx(82, abs=2)


def test_of_requests_that_are_all_alike_a_part_gets_the_better_model() -> None:
    worth, alike = Worth(Target(quality_of_best=0.99)), [option("small", 0.85, 0.001), option("large", 0.9, 0.01)]
    for _ in range(100):
        worth.see(alike, alike[0])
    refitted(worth)
    taken, left = (for_request(worth.usd, lot) * 0.05 for lot in (0.81, 0.83))
    assert left < 0.009 < taken


def test_from_then_on_it_moves_by_a_bounded_step() -> None:
    worth = Worth(QUALITY)
    seen(worth, WINDOW)
    before = refitted(worth)
    seen(worth, WINDOW, gain=0.1)
    assert refitted(worth) == pytest.approx(before / STEP)  # quality has become cheaper
    for _ in range(200):
        settled = refitted(worth)
    assert refitted(worth) == settled < before / STEP**2


def test_a_budget_buys_no_more_than_each_request_may_cost() -> None:
    worth = Worth(DOLLARS)
    seen(worth, 100)
    cheap_usd, dear_usd = refitted(worth, 0.0), refitted(Worth(DOLLARS), 1.0)
    assert cheap_usd * 0.05 < 0.009  # all take the cheapest
    assert dear_usd == LEAST_USD  # this worth has seen no requests
    other = Worth(DOLLARS)
    seen(other, 100)
    assert refitted(other, 1.0) * 0.05 > 0.018  # all take the best


def test_a_worker_that_starts_takes_what_the_others_have() -> None:
    worths, told = Worths(""), {"smart": 0.04, "other": 1.0}
    worths.adopt({"smart": GROUP, "plain": GroupSettings()})
    assert (worths.of("smart", HALF), worths.of("plain", HALF)) == (MOST_USD, None)
    worths.hear([told, {"smart": 0.01}, {"smart": "much"}, {"smart": float("nan")}, {"smart": -1.0}, "nonsense"])
    assert worths.of("smart", HALF) == pytest.approx(0.02)
    assert worths.export() == {}  # this worker has no worth of its own
    worths.hear([])
    assert worths.of("smart", HALF) == MOST_USD


def test_a_new_target_begins_anew_and_the_same_one_goes_on() -> None:
    worths = Worths("")
    worths.adopt({"smart": GROUP})
    worths.hear([{"smart": 0.04}])
    worths.adopt({"smart": GROUP, "plain": GroupSettings()})
    assert worths.of("smart", HALF) == pytest.approx(0.04)
    worths.adopt({"smart": GroupSettings(objective="value", target=DOLLARS)})
    assert worths.of("smart", HALF) == LEAST_USD
