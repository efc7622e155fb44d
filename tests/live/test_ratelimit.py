"""What providers say about their limits, in every form, is read as seconds and counts."""

from __future__ import annotations

import pytest

from slo_router.live.ratelimit import Report, moment_s, reports, wait_s

NOW_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("said", "in_s"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3_723.0),
        ("12", 12.0),
        ("12.5", 12.5),
        ("54 seconds", 54.0),
        ("2027-01-15T08:00:10Z", 10.0),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10.0),
        ("1800000010", 10.0),
        ("1800000010000", 10.0),
    ],
)
def test_durations_and_dates(said: str, in_s: float) -> None:
    assert moment_s(said, NOW_S) == pytest.approx(NOW_S + in_s, abs=1e-3)


@pytest.mark.parametrize("said", ["", "soon", "-5", "1 fortnight", "Fri, 15 Foo 2027"])
def test_what_is_no_time_is_none(said: str) -> None:
    assert moment_s(said, NOW_S) is None


def test_a_date_is_read_by_the_servers_own_clock() -> None:
    headers = {"Retry-After": "Fri, 15 Jan 2027 09:01:00 GMT", "Date": "Fri, 15 Jan 2027 09:00:00 GMT"}
    assert wait_s(headers, "", NOW_S) == 60.0


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"Retry-After": "7", "retry-after-ms": "6200"}, "", 6.2),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, "", 9.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"}, "", None),
        ({"retry-after": "0"}, "", None),
        ({}, '{"error": {"message": "Slow down.", "retry_after": 7}}', 7.0),
        ({}, '{"retry_after_ms": 700}', 0.7),
        ({}, '{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}', 34.0),
        ({}, "Rate limit reached for gpt-4o. Please try again in 6.2s. Visit …", 6.2),
        ({}, "Please try again in 1m26.4s.", 86.4),
        ({}, "Please retry after 54 seconds.", 54.0),
        ({}, "Too many requests. Please wait 30 seconds before retrying.", 30.0),
        ({}, "Too many tokens, please wait before trying again.", None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}, "", 3.0),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "3"}, "", None),
        ({"x-ratelimit-remaining": "0"}, "", None),
        ({}, '{"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000040000"}}}', 40.0),
        ({}, "You exceeded your current quota, please check your plan.", None),
    ],
)
def test_how_long_a_refusal_says_to_wait(headers: dict[str, object], text: str, expected: float | None) -> None:
    found = wait_s(headers, text, NOW_S)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


def test_the_reports_of_openai_and_anthropic_as_litellm_hands_them_on() -> None:
    openai = {
        "llm_provider-x-ratelimit-limit-requests": "60",
        "llm_provider-x-ratelimit-remaining-requests": "59",
        "llm_provider-x-ratelimit-reset-requests": "1s",
        "llm_provider-x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-remaining-requests": "3",  # LiteLLM's own count
    }
    assert reports(openai, NOW_S) == [
        Report("requests", 59.0, 60.0, NOW_S + 1),
        Report("tokens", 149_984.0, None, None),
    ]
    anthropic = {
        "llm_provider-anthropic-ratelimit-requests-limit": "50",
        "llm_provider-anthropic-ratelimit-requests-remaining": "0",
        "llm_provider-anthropic-ratelimit-requests-reset": "2027-01-15T08:00:30Z",
    }
    assert reports(anthropic, NOW_S) == [Report("requests", 0.0, 50.0, NOW_S + 30)]
    assert reports({"llm_provider-x-ratelimit-remaining-requests": "many"}, NOW_S) == []
