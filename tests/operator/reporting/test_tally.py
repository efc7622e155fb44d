"""Requests are counted in their places. Attainment, money, quality and TTFT are as worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.operator.replay.counterfactual import NO_MONEY, Money
from slo_router.operator.reporting.tally import Tallies, Tally, bin_of
from tests.shared.builders import NOW_S
from tests.shared.record_builders import read_back

PAID = Money(1.0, 4.0, 0.7, 0.9, is_exact=True)


def test_a_request_counts_in_the_whole_and_in_each_of_its_parts() -> None:
    tallies = Tallies()
    tallies.add(read_back(ts=NOW_S), PAID)
    tallies.add(read_back(ts=NOW_S + 3_600, deployment="large", team_id=None), PAID._replace(spent_usd=3.0))
    assert {name: one.requests for name, one in tallies.deployments.items()} == {"small": 1, "large": 1}
    assert {name: one.requests for name, one in tallies.categories.items()} == {"ner": 2}
    assert {name: one.requests for name, one in tallies.teams.items()} == {"blue": 1, "(no team)": 1}
    assert [one.spent_usd for one in tallies.hours.values()] == [1.0, 3.0]
    assert dict(tallies.served) == {("small", "ner"): 1, ("large", "ner"): 1}
    assert (tallies.first_s, tallies.last_s) == (NOW_S, NOW_S + 3_600)
    total = tallies.total
    assert (total.requests, total.spent_usd, total.baseline_usd, total.tokens) == (2, 4.0, 8.0, 800)
    assert total.money == (2, 4.0, 8.0, 10.0, 16.0, 32.0)  # 1 + 9; 1·4 + 3·4; 16 + 16
    assert (total.quality / total.quality_count, total.baseline_quality / total.quality_count) == pytest.approx(
        (0.7, 0.9)
    )


def test_errors_are_not_met_and_cost_nothing_and_what_was_not_judged_counts_apart() -> None:
    tally = Tally()
    for met, outcome in ((True, "success"), (False, "success"), (None, "success"), (False, "error")):
        record = read_back(slo_met=met, outcome=outcome)
        tally.add(record, NO_MONEY if outcome == "error" else PAID, None)
    assert (tally.requests, tally.met, tally.missed, tally.errors) == (4, 1, 2, 1)
    assert (tally.priced, tally.unpriced, tally.tokens) == (3, 0, 1_200)


def test_money_that_is_not_known_is_in_no_sum_and_estimates_are_counted() -> None:
    tally = Tally()
    for money in (PAID, PAID._replace(baseline_usd=None), NO_MONEY, PAID._replace(is_exact=False)):
        tally.add(read_back(), money, None)
    assert (tally.priced, tally.unpriced, tally.estimated, tally.spent_usd) == (2, 2, 1, 2.0)


def test_cache_hits_and_clients_that_left_are_counted() -> None:
    tally = Tally()
    for outcome in ("cache_hit", "disconnected", "success"):
        tally.add(read_back(outcome=outcome), PAID, None)
    assert (tally.cache_hits, tally.disconnected, tally.requests) == (1, 1, 3)


@given(st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_within_a_hundredth_of_the_sorted_values(values: list[float], level: float) -> None:
    tally = Tally()
    for value in values:
        tally.add(read_back_once, PAID, bin_of(value))
    rank = next(n for n in range(1, len(values) + 1) if n >= level * len(values))
    assert tally.ttft_ms(level) == pytest.approx(sorted(values)[rank - 1], rel=0.0101)


read_back_once = read_back()


@pytest.mark.parametrize("value", [None, 0.0, 1e-9])
def test_no_ttft_is_in_no_bin(value: float | None) -> None:
    assert bin_of(value) is None
    assert Tally().ttft_ms(0.5) is None
