"""What an answer says about its own failure, and whose fault it is."""

from __future__ import annotations

import json
import os
import warnings

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    from slo_router.gateway import faults


def event(kind: str) -> str:
    return f"event: error\ndata: {json.dumps({'type': 'error', 'error': {'type': kind, 'message': 'm'}})}\n\n"


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", "deployment"),
        ("api_error", "deployment"),
        ("timeout_error", "deployment"),
        ("rate_limit_error", "quota"),
        ("authentication_error", "account"),
        ("billing_error", "account"),
        ("request_too_large", "request"),
        ("invalid_request_error", "request"),
        ("guardrail_error", "request"),  # a guardrail's own
    ],
)
def test_whose_fault_an_error_among_the_events_is(kind: str, fault: str) -> None:
    whole = event(kind)
    cut = [*whole.encode().partition(b"error"), b""]
    for pieces in ([whole], [whole.encode()], [f"event: ping\ndata: {{}}\n\n{whole}"], cut, [whole[:40], whole[40:]]):
        found = faults.failure_at_end(pieces)
        assert found is not None
        assert faults.fault_of(found, at_proxy=True) == fault


@pytest.mark.parametrize(("code", "fault"), [("server_error", "deployment"), ("rate_limit_exceeded", "quota")])
def test_whose_fault_a_response_is_that_failed(code: str, fault: str) -> None:
    said = {"object": "response", "status": "failed", "error": {"code": code, "message": "Please try again in 11s."}}
    found = faults.failure_in(said)
    assert found is not None
    assert faults.fault_of(found, at_proxy=True) == fault
    assert faults.wait_s(found, 0.0) == 11


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"data: [DONE]\n\n",
        "event: error\ndata: {",
        'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"text": "event: error"}}\n\n',
        {"object": "response", "status": "completed", "error": None},
        {"object": "response", "status": "incomplete"},
        {"object": "batch", "status": "failed"},
        object(),
    ],
)
def test_whatever_else_is_no_failure(answer: object) -> None:
    assert faults.failure_in(answer) is None
    assert faults.failure_at_end([answer]) is None
    assert faults.failure_at_end([]) is None
