"""Random header and body values on every route: a 400 that names the field, or a routed answer; never a 500.

`python -m evaluation.robustness.fuzz` sends 10,000 requests, also with key and team metadata. These tests send the
first 300 of its generator.
"""

from __future__ import annotations

import asyncio

from evaluation.robustness.fuzz import Report, fuzz, names_a_field
from evaluation.robustness.fuzz_cases import Case, cases
from tests.e2e.conftest import Stack

CASE = Case("/v1/chat/completions", (("x-slo-ttft-ms", b"soon"),), {"model": "smart"}, {})


def test_whatever_a_client_says_is_refused_by_name_or_routed(stack: Stack) -> None:
    report = Report()
    asyncio.run(fuzz(stack.proxy.url, cases(300, seed=1, keys=False), lambda _: stack.proxy.master_key, report))

    assert report.failures == {}
    assert report.unanswered == []
    assert report.outcomes["400 that names the field"] > 50
    assert report.outcomes["200, met"] > 50
    assert sum(report.outcomes.values()) == 300


def test_a_refusal_counts_only_if_it_names_what_the_request_said() -> None:
    refusal = "{}: 'soon' is not valid, expected a number above 0 to 3,600,000"

    assert names_a_field(refusal.format("x-slo-ttft-ms"), CASE)
    assert not names_a_field(refusal.format("x-slo-tpot-ms"), CASE)
    assert not names_a_field(refusal.format("user_slo.maxLatencyMs"), CASE)
    assert not names_a_field("x-slo-ttft-ms", CASE)


def test_the_same_seed_gives_the_same_requests() -> None:
    assert repr(list(cases(50, seed=3))) == repr(list(cases(50, seed=3)))  # repr: NaN differs from itself
