"""A success, a disconnect and a cache hit each leave exactly one record, and LiteLLM's own logs show the decision."""

from __future__ import annotations

import re

import httpx
import pytest

from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import ASK, LITELLM, Stack
from tests.e2e.test_routes import ROUTES


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_success_leaves_one_record_with_the_whole_decision(stack: Stack, path: str, stream: bool) -> None:
    stack.post(path, {"model": "smart", "stream": stream, **ROUTES[path]}, x_slo_min_quality="0.7")

    (found,) = stack.records(1)
    record = RequestRecord.model_validate(found)
    assert record.outcome == "success"
    assert (record.model_group, record.deployment, record.category) == ("smart", "medium", "summarization")
    assert record.stream is stream
    if (
        record.prompt_tokens is None or record.completion_tokens is None
    ):  # up to 1.108 LiteLLM loses the usage of a streamed text completion
        assert (path, stream, LITELLM < (1, 109)) == ("/v1/completions", True, True)
        assert (record.prompt_tokens, record.completion_tokens, record.cost_usd) == (None, None, None)
    else:
        assert record.cost_usd == pytest.approx(record.prompt_tokens * 5e-7 + record.completion_tokens * 1e-6)
    assert record.slo.min_quality == 0.7
    assert (record.ttft_ms is not None) is stream
    assert record.prompt is None
    assert record.answer is None
    assert record.decision is not None
    candidates = record.decision["candidates"]
    assert isinstance(candidates, list)
    assert sorted(candidate["deployment"] for candidate in candidates) == ["large", "medium", "small"]
    assert record.decision["rejections"] == [
        {"deployment": "small", "filter": "quality", "value": 0.6, "limit": 0.7},
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_response_s_record_has_the_id_that_the_client_got(stack: Stack, stream: bool) -> None:
    """LiteLLM gives a response an id of its own, another one each time, on its way out."""
    answer = stack.post("/v1/responses", {"model": "smart", "input": ASK, "stream": stream})
    (record,) = stack.records(1)
    assert set(re.findall(r'"id": ?"(resp_[^"]+)"', answer.text)) == {record["request_id"]}


def test_a_record_holds_no_prompt_text_and_no_key(stack: Stack) -> None:
    stack.ask("Summarize: the secret word is xylophone.")

    (found,) = stack.records(1)
    assert "xylophone" not in str(found)
    assert stack.proxy.master_key not in str(found)


def test_a_client_that_leaves_is_one_disconnect_and_its_slo_is_judged_by_what_was_seen(stack: Stack) -> None:
    stack.endpoints["small"].control("slow", factor=20)
    with httpx.stream(
        "POST",
        f"{stack.proxy.url}/v1/chat/completions",
        json={"model": "smart", "stream": True, "messages": [{"role": "user", "content": ASK}]},
        headers=stack.proxy.auth,
        timeout=60,
    ) as answer:
        next(line for line in answer.iter_lines() if "[small]" in line)  # the first word

    (record,) = stack.records(1)
    assert (record["outcome"], record["deployment"]) == ("disconnected", "small")
    assert record["slo_met"] is True  # TTFT is the only limit of the group


def test_a_malformed_request_leaves_no_record(stack: Stack) -> None:
    stack.ask(x_slo_ttft_ms="NaN")

    assert stack.records(0) == []
