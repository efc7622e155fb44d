"""What deployments read from their caches: as reported by usage, summed over workers, and never assumed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.ages import CACHED_HALF_LIFE_S, CACHED_SOON_S
from slo_router.contract.model import Facts
from slo_router.worker.learning.caching import ASSUMED_TOKENS, Caching, kind_of
from tests.shared.builders import NOW_S

A = Facts("a", "m", None, None, 1e-6, 1e-6, cached_usd_per_token=1e-7)
B = Facts("b", "m", None, None, 1e-6, 1e-6)  # no own price for cached tokens
FACTS = {"a": A, "b": B}


def test_what_nobody_reports_is_as_assumed_and_what_is_reported_counts_by_its_tokens() -> None:
    caching = Caching()
    assert [caching.share(("a",), kind, NOW_S) for kind in ("new", "soon", "late")] == [0, 1, 1]
    caching.see("a", "soon", 6_000, 0, NOW_S)
    assert caching.share(("a",), "soon", NOW_S) == ASSUMED_TOKENS / (ASSUMED_TOKENS + 6_000)
    caching.see("a", "new", 2_000, 1_500, NOW_S)
    assert caching.share(("a",), "new", NOW_S) == 1_500 / (ASSUMED_TOKENS + 2_000)
    assert caching.share(("b",), "new", NOW_S) == 0


def test_old_reports_fade() -> None:
    caching = Caching()
    caching.see("a", "soon", 8_000, 0, NOW_S)
    assert caching.share(("a",), "soon", NOW_S + CACHED_HALF_LIFE_S) == ASSUMED_TOKENS / (ASSUMED_TOKENS + 4_000)
    assert caching.share(("a",), "soon", NOW_S + 30 * CACHED_HALF_LIFE_S) == pytest.approx(1)


def test_another_worker_hears_the_whole_and_hears_it_once_however_often_it_is_told() -> None:
    caching, other = Caching(), Caching()
    caching.see("a", "new", 6_000, 4_000, NOW_S)
    for _ in range(3):
        other.hear([json.loads(json.dumps(caching.export(NOW_S)))], FACTS, NOW_S)
    assert other.share(("a",), "new", NOW_S) == caching.share(("a",), "new", NOW_S) == 0.5
    other.hear([], FACTS, NOW_S)
    assert other.share(("a",), "new", NOW_S) == 0  # that worker is gone


def test_only_a_deployment_that_prices_cached_tokens_and_reads_some_gets_another_price() -> None:
    caching = Caching()
    for name in ("a", "b", "gone"):
        caching.see(name, "new", 6_000, 4_000, NOW_S)
    caching.fit(FACTS, NOW_S)
    assert caching.new_shares == {"a": 0.5}
    assert {name for name, *_ in caching.export(NOW_S)} == {"a", "b"}
    assert Caching().new_shares == {}


def test_equal_deployments_have_one_share_so_that_the_one_with_a_warm_cache_does_not_get_all_the_traffic() -> None:
    caching = Caching()
    caching.see("a", "new", 6_000, 4_000, NOW_S)
    twin, dearer = replace(A, deployment_id="twin"), replace(A, deployment_id="dearer", input_usd_per_token=2e-6)
    caching.fit({"a": A, "twin": twin, "dearer": dearer}, NOW_S)
    assert caching.new_shares == {"a": 0.5, "twin": 0.5}


def test_providers_keep_a_conversation_for_minutes() -> None:
    assert kind_of(NOW_S - CACHED_SOON_S, NOW_S) == "soon"
    assert kind_of(NOW_S - CACHED_SOON_S - 1, NOW_S) == "late"


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.just("a") | st.just("new"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_stands_in_redis_is_borne(value: object) -> None:
    caching = Caching()
    caching.hear([value, [value], [["a", "new", value, value]]], FACTS, NOW_S)
    caching.fit(FACTS, NOW_S)
    assert 0 <= caching.share(("a",), "new", NOW_S) <= 1
