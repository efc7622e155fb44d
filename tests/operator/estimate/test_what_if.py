"""Which deployment would have answered, and at what cost. The figures are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Tier
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.estimate.evidence import Verdict
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.totals import MOST_KEYS, OTHERS, SHARES, Totals
from slo_router.operator.estimate.what_if import SCENARIOS, End, WhatIf, routed_usd
from tests.operator.estimate.worlds import LARGE, SMALL, pool_of, row, totals_of, what_if_of

GOOD = replace(SMALL, quality={"default": 0.95})
KNOWN = replace(LARGE, quality={"default": 0.95})


def usd(totals: Totals, what_if: WhatIf, scenario: Verdict, end: End = End.MIDDLE) -> float:
    picks = what_if.picks(scenario, end)
    return sum(routed_usd(stratum, sums, picks, end) for stratum, sums in totals.strata().items())


def test_without_evidence_nothing_moves_or_everything_does() -> None:
    totals = totals_of(row(number) for number in range(10))
    what_if = what_if_of(totals, pool_of(SMALL))
    assert usd(totals, what_if, Verdict.SHOWN) == usd(totals, what_if, Verdict.STATED) == pytest.approx(0.06)
    assert usd(totals, what_if, Verdict.OPEN) == pytest.approx(10 * (1_000 * 1e-6 + 100 * 2e-6))


def test_the_ends_of_an_unknown_length_are_half_and_twice_as_long() -> None:
    totals = totals_of([row()])
    what_if = what_if_of(totals, pool_of(SMALL))
    assert usd(totals, what_if, Verdict.OPEN, End.LEAST) == pytest.approx(0.001 + 2 * 0.0002)
    assert usd(totals, what_if, Verdict.OPEN, End.MOST) == pytest.approx(0.001 + 0.0001)


def test_a_quality_that_the_yaml_states_moves_in_its_own_scenario() -> None:
    totals = totals_of([row()])
    what_if = what_if_of(totals, pool_of(GOOD, served=KNOWN))
    assert usd(totals, what_if, Verdict.SHOWN) == pytest.approx(0.006)
    assert usd(totals, what_if, Verdict.STATED) == pytest.approx(0.0012)
    weak = what_if_of(totals, pool_of(replace(SMALL, quality={"default": 0.9}), served=KNOWN))  # 0.95 × 0.95 = 0.9025
    assert usd(totals, weak, Verdict.OPEN) == pytest.approx(0.006)


def test_cached_tokens_are_read_elsewhere_too_and_at_the_lower_end_never() -> None:
    totals = totals_of([row(cached_tokens=800, usd=0.0024)])
    cached = replace(SMALL, cached_usd_per_token=0.1e-6)
    what_if = what_if_of(totals, pool_of(cached))
    assert usd(totals, what_if, Verdict.OPEN) == pytest.approx(200e-6 + 800 * 0.1e-6 + 100 * 2e-6)
    assert usd(totals, what_if, Verdict.OPEN, End.LEAST) == pytest.approx(1_000e-6 + 200 * 2e-6)


def test_what_is_dearer_is_left_where_it_is() -> None:
    totals = totals_of([row()])
    dear = replace(SMALL, input_usd_per_token=6e-6)
    assert not what_if_of(totals, pool_of(dear)).picks(Verdict.OPEN, End.MIDDLE)


def test_the_cheapest_of_several_takes_over() -> None:
    totals = totals_of([row()])
    cheaper = replace(SMALL, deployment_id="tiny", model="openai/tiny", input_usd_per_token=0.5e-6)
    (option,) = what_if_of(totals, pool_of(SMALL, cheaper)).picks(Verdict.OPEN, End.MIDDLE).values()
    assert option.facts.deployment_id == "tiny"


def test_a_prompt_that_a_window_does_not_hold_stays() -> None:
    totals = totals_of([row(), row(prompt_tokens=40_000, usd=0.201)])
    small = replace(SMALL, context_tokens=32_000)
    what_if = what_if_of(totals, pool_of(small))
    assert usd(totals, what_if, Verdict.OPEN) == pytest.approx(0.0012 + 0.201)


def test_a_price_above_so_many_tokens_holds_for_the_prompts_above() -> None:
    totals = totals_of([row(prompt_tokens=199_999, usd=1.0), row(prompt_tokens=200_001, usd=1.0)])
    tiered = replace(SMALL, context_tokens=None, tiers=(Tier(200_000, 2e-6, 4e-6),))
    what_if = what_if_of(totals, pool_of(tiered))
    assert usd(totals, what_if, Verdict.OPEN) == pytest.approx(199_999e-6 + 100 * 2e-6 + 200_001 * 2e-6 + 100 * 4e-6)


def test_what_is_below_the_groups_floor_now_moves_though_that_is_dearer() -> None:
    groups = {"big": GroupSettings(min_quality={"default": 0.8})}
    weak = replace(SMALL, quality={"default": 0.6})
    totals = totals_of([row(served="small", model="openai/small", usd=0.0012)])
    what_if = what_if_of(totals, pool_of(KNOWN, groups=groups, served=weak))
    assert usd(totals, what_if, Verdict.STATED) == pytest.approx(0.006)
    assert usd(totals, what_if, Verdict.SHOWN) == pytest.approx(0.0012)  # nothing is shown to be better


def test_images_and_audio_stay() -> None:
    totals = totals_of([row(has_media=True)])
    assert usd(totals, what_if_of(totals, pool_of(SMALL)), Verdict.OPEN) == pytest.approx(0.006)


def test_the_same_model_elsewhere_is_as_good_and_as_long() -> None:
    totals = totals_of([row()])
    elsewhere = replace(SMALL, deployment_id="mirror", model="other/large")
    what_if = what_if_of(totals, pool_of(elsewhere))
    for end in End:
        assert usd(totals, what_if, Verdict.SHOWN, end) == pytest.approx(0.0012)


rows = st.builds(
    row,
    st.integers(0, 500),
    fate=st.sampled_from(["served", "served", "cache_hit", "failed", "other"]),
    prompt_tokens=st.integers(0, 300_000),
    answer_tokens=st.integers(0, 5_000),
    key=st.sampled_from(["a", "b"]),
    task=st.sampled_from(["chat", "code", "unknown"]),
    usd=st.one_of(st.none(), st.just(0.0), st.floats(1e-6, 1.0)),
)


@given(st.lists(rows, min_size=1, max_size=30))
def test_more_evidence_never_saves_less_and_every_split_adds_up(found: list[Row]) -> None:
    totals = totals_of(found)
    what_if = what_if_of(totals, pool_of(GOOD, served=KNOWN))
    spent = sum(one.usd or 0 for one in found if one.fate == "served" and (one.usd or 0) > 0)
    for end in End:
        costs = [usd(totals, what_if, scenario, end) for scenario in SCENARIOS]
        assert costs == sorted(costs, reverse=True)
        assert costs[0] <= spent * (1 + 1e-9)
    for cells in (totals.by_key(), totals.by_day(), totals.by_share()):
        assert sum(sums.usd for _, _, sums in cells) == pytest.approx(spent)
    assert totals.rows == len(found)


def test_whole_sessions_stay_together() -> None:
    totals = totals_of(row(number, session="one") for number in range(40))
    assert len({share for _, share, _ in totals.by_share()}) == 1
    many = totals_of(row(number) for number in range(5_000))
    assert len({share for _, share, _ in many.by_share()}) == SHARES


def test_keys_beyond_the_most_are_the_others() -> None:
    totals = totals_of(row(key=f"k{number}") for number in range(MOST_KEYS + 7))
    counts = {key: sums.requests for _, key, sums in totals.by_key()}
    assert counts[OTHERS] == 7
    assert len(counts) == MOST_KEYS + 1
