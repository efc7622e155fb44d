"""LiteLLM's fallbacks between groups: a request's SLO also counts in the group to which it falls back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.conftest import ASK, Stack
from tests.e2e.test_routes import ROUTES

AT_ONCE: dict[str, Any] = {"x_litellm_num_retries": "0"}  # LiteLLM waits before it tries a deployment again


@pytest.mark.parametrize("path", ROUTES)
def test_a_fallback_into_a_managed_group_is_routed_by_what_the_request_asks_for(stack: Stack, path: str) -> None:
    stack.endpoints["small"].control("error500")

    answer = stack.post(path, {"model": "outside", **ROUTES[path]}, x_slo_min_quality="0.9", **AT_ONCE)

    assert answer.status_code == 200
    assert answer.headers["x-slo-selected-model"] == "large"
    (record,) = stack.records(1)
    assert (record["deployment"], record["outcome"]) == ("large", "success")
    assert record["slo"] == {**record["slo"], "min_quality": 0.9}  # type: ignore[dict-item]


def test_a_malformed_wish_is_said_not_to_count_where_the_request_cannot_be_refused_any_more(stack: Stack) -> None:
    stack.endpoints["small"].control("error500")

    answer = stack.ask(model="outside", x_slo_ttft_ms="soon", x_litellm_num_retries="1")

    assert answer.status_code == 200
    assert answer.headers["x-slo-clamped"] == "x-slo-ttft-ms"


@pytest.mark.parametrize("model", ["outside", "smart", "outside,smart"])
@pytest.mark.parametrize("fails", [False, True])
def test_no_provider_sees_what_is_meant_for_us(stack: Stack, model: str, fails: bool) -> None:
    if fails:
        stack.endpoints["small"].control("error500")

    body = {"user_slo": {"maxLatencyMs": 5_000}, "metadata": {"slo": {"min_quality": 0.1}, "mine": "stays"}}
    stack.ask(model=model, body=body, **AT_ONCE)

    sent = [set(seen.body_keys) for handle in stack.endpoints.values() for seen in handle.seen()]
    assert sent
    assert not any(keys & {"user_slo", "slo", "metadata"} for keys in sent)


def test_a_request_that_leaves_a_managed_group_has_one_record_of_who_answered(stack: Stack) -> None:
    stack.endpoints["medium"].control("error500")

    answer = stack.ask(model="strict", x_litellm_num_retries="1")

    assert answer.status_code == 200
    assert answer.headers["x-slo-decision"] == "passthrough"
    assert answer.headers["x-slo-reason"] == "the group that answered is not managed"
    assert answer.headers["x-slo-selected-model"] == "outside-small"
    (record,) = stack.records(1)
    assert (record["deployment"], record["outcome"], record["attempts"]) == (
        "outside-small",
        "success",
        3,
    )  # strict has one deployment, which is tried twice


def test_an_unmanaged_group_that_does_not_fall_back_leaves_no_trace(stack: Stack) -> None:
    answer = stack.ask(model="outside", x_slo_ttft_ms="soon", **AT_ONCE)

    assert answer.status_code == httpx.codes.OK
    assert not [name for name in answer.headers if name.startswith("x-slo-")]
    assert stack.records(0) == []


@pytest.mark.parametrize("after_chunks", [0, 3], ids=["after the role", "after some words"])
def test_a_stream_that_breaks_is_recorded_as_what_the_client_got(stack: Stack, after_chunks: int) -> None:
    """Whether LiteLLM continues elsewhere depends on its version, its settings and the fault."""
    stack.endpoints["medium"].control("cut", after_chunks=after_chunks)

    body = {"model": "strict", "stream": True, "messages": [{"role": "user", "content": ASK}]}
    with httpx.stream(
        "POST", f"{stack.proxy.url}/v1/chat/completions", json=body, headers=stack.proxy.auth, timeout=60
    ) as answer:
        text = "".join(answer.iter_text())

    (record,) = stack.records(1)
    if "[small]" in text:
        assert (record["outcome"], record["deployment"]) == ("success", "outside-small")
        assert record["completion_tokens"] != 0  # LiteLLM's numbers of such a stream are not always complete
    else:
        assert (record["outcome"], record["deployment"]) == ("error", "strict-medium")
