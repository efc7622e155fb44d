"""Money: a request's price, its highest price before it is sent, and a budget that is never exceeded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_bench.errors import StoppedError
from slo_bench.guard.budget import Budget, charged_usd, is_priced, most_usd, request_usd
from slo_bench.measure.stream import Sample
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import Facts

PRICED = Facts("a", "openai/a", input_usd_per_token=1e-6, output_usd_per_token=4e-6)
CACHED = Facts("a", "openai/a", input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_usd_per_token=1e-7)
GPU = Facts("g", "openai/g", gpu_usd_per_hour=3.6)
UNKNOWN = Facts("u", "openai/u", input_usd_per_token=1e-6)
PROMPT = Prompt("ner", ({"role": "user", "content": "é" * 34},), 100)  # 68 bytes, and 32 tokens for the template


def test_a_request_costs_its_tokens_and_cached_ones_have_their_own_price() -> None:
    assert request_usd(PRICED, 1_000, 100) == pytest.approx(0.0014)
    assert request_usd(CACHED, 1_000, 100, 600) == pytest.approx(0.0004 + 0.00006 + 0.0004)
    assert request_usd(PRICED, 1_000, 100, 600) == pytest.approx(0.0014)  # no price for cached ones: the full one
    assert (request_usd(GPU, 1_000, 100), request_usd(UNKNOWN, 1_000, 100)) == (0.0, None)
    assert [is_priced(facts) for facts in (PRICED, GPU, UNKNOWN)] == [True, True, False]


def test_it_costs_at_most_every_byte_as_a_token_and_all_of_max_tokens() -> None:
    assert most_usd(PRICED, PROMPT) == pytest.approx(100e-6 + 100 * 4e-6)
    parts = Prompt("ner", ({"role": "user", "content": [{"type": "text", "text": "abcd"}, {"type": "image_url"}]},), 1)
    assert most_usd(PRICED, parts) == pytest.approx((4 + 2_000 + 32) * 1e-6 + 4e-6)


@pytest.mark.parametrize(
    ("sample", "usd"),
    [
        (Sample(0.1, 0.2, 20, 10), 60e-6),
        (Sample(error="cut_stream", prompt_tokens=20, completion_tokens=10), 60e-6),
        (Sample(error="cut_stream"), 500e-6),  # unknown usage: its highest price
        (Sample(error="timeout"), 500e-6),
        (Sample(0.1, 0.2), 500e-6),
        (Sample(error="http_429"), 0.0),
        (Sample(error="connection"), 0.0),
    ],
)
def test_a_request_without_usage_counts_at_its_most_and_a_refused_one_is_free(sample: Sample, usd: float) -> None:
    assert charged_usd(PRICED, PROMPT, sample) == pytest.approx(usd)


def test_what_is_on_its_way_counts_until_it_is_settled() -> None:
    budget = Budget(1.0, 60.0)
    budget.reserve(0.4, "a")
    budget.reserve(0.4, "a")
    with pytest.raises(StoppedError, match=r"of 1 USD 0 are spent, 0\.8 are reserved"):
        budget.reserve(0.4, "a")
    budget.settle(0.4, 0.1)
    budget.reserve(0.4, "a")
    assert budget.spent_usd == pytest.approx(0.1)


def test_a_gpu_costs_its_time_and_one_more_request_is_kept_for() -> None:
    now_s = 0.0
    budget = Budget(0.1, longest_s=60.0)
    budget.gpu_began("g", 3.6, lambda: now_s)  # 0.001 USD per second, 0.06 for the longest request
    now_s = 30.0
    budget.reserve(0.0, "g")
    assert budget.spent_usd == pytest.approx(0.03)
    now_s = 41.0
    with pytest.raises(StoppedError):
        budget.reserve(0.0, "g")
    budget.gpu_ended("g")
    now_s = 99.0
    assert budget.spent_usd == pytest.approx(0.041)


def test_what_has_no_price_is_named_and_not_counted() -> None:
    budget = Budget(0.1, 60.0)
    budget.reserve(None, "u")
    budget.settle(None, None)
    assert (budget.spent_usd, budget.uncounted) == (0.0, {"u"})


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=40), st.floats(0, 5))
def test_the_limit_is_never_passed(requests: list[tuple[float, float, bool]], limit_usd: float) -> None:
    budget = Budget(limit_usd, 60.0)
    under_way: list[tuple[float, float]] = []
    for most, share, ends in requests:
        try:
            budget.reserve(most, "a")
            under_way.append((most, most * share))
        except StoppedError:
            break
        if ends:
            budget.settle(*under_way.pop(0))
    for most, charged in under_way:
        budget.settle(most, charged)
    assert budget.spent_usd <= limit_usd * (1 + 1e-9) + 1e-12
