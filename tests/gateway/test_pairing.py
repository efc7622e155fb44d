"""Which requests may be compared: no private one, none of a key that opted out, none of which a judge sees little."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from slo_router.worker.pairing.paired import Finished
from slo_router.worker.trace import Trace
from tests.shared.builders import decided
from tests.shared.record_builders import BOTH, LARGE, SMALL

with warnings.catch_warnings():  # LiteLLM's own, at import
    warnings.simplefilter("ignore")
    from slo_router.gateway.pairing.offers import finished_of

ENDED_S = 1_800_000_000.0
MESSAGES = [{"role": "user", "content": "Hello"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]


def answer(**changed: object) -> dict[str, object]:
    choice = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop", **changed}
    return {"choices": [choice]}


def offered(
    *,
    body: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
    metadata: dict[str, object] | None = None,
    **changed: Any,
) -> Finished | None:
    trace = Trace("acompletion", 0.0, group="smart")
    trace.decision = decided([SMALL, LARGE], snapshot=BOTH)
    for name in ("call_type", "goes_on", "tells_nothing", "is_signed"):
        setattr(trace, name, changed.pop(name, getattr(trace, name)))
    payload = {"status": "success", "model_id": "small", "messages": MESSAGES, "response": answer(), **changed}
    sent = {"headers": headers or {}, "body": {"messages": MESSAGES, **(body or {})}}
    return finished_of(
        {"litellm_params": {"metadata": metadata or {}, "proxy_server_request": sent}}, trace, payload, ENDED_S
    )


def test_a_plain_chat_is_offered_with_what_is_needed_to_ask_again() -> None:
    found = offered(body={"temperature": 0.2, "max_tokens": 9, "user": "me", "stream": True})
    assert found is not None
    assert (found.group, found.served, found.answer, found.ended_s) == ("smart", "small", "Hi", ENDED_S)
    assert found.messages == MESSAGES
    assert found.parameters == {"temperature": 0.2, "max_tokens": 9}
    assert set(found.usd) == {"small", "large"}


def test_a_schema_is_asked_for_again() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    found = offered(body={"response_format": form})
    assert found is not None
    assert (found.form, found.parameters) == (form, {"response_format": form})


def test_text_in_parts_is_text() -> None:
    found = offered(messages=PARTS)
    assert found is not None
    assert found.messages == MESSAGES


@pytest.mark.parametrize("said", ["true", "1", "yes", "please", " TRUE "])
def test_a_private_request_is_not_offered_however_it_says_so(said: str) -> None:
    assert offered(headers={"x-slo-private": said}) is None
    assert offered(body={"metadata": {"slo_private": said}}) is None
    assert offered(body={"metadata": {"requester_metadata": {"slo_private": said}}}) is None
    assert offered(body={"litellm_metadata": {"slo_private": True}}) is None


@pytest.mark.parametrize("said", ["false", "0", "off", "no", "False"])
def test_a_request_may_say_that_it_is_not_private(said: str) -> None:
    assert offered(headers={"x-slo-private": said}) is not None


@pytest.mark.parametrize("whose", ["user_api_key_metadata", "user_api_key_team_metadata"])
def test_keys_and_teams_opt_out(whose: str) -> None:
    for said in ("off", False, "no", 0, "never"):
        assert offered(metadata={whose: {"slo_shadow_evaluation": said}}) is None
    for allowed in ({}, {"slo_shadow_evaluation": "on"}, {"slo_shadow_evaluation": True}):
        assert offered(metadata={whose: allowed}) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"body": {"tools": [{"type": "function"}]}},
        {"body": {"response_format": {"type": "json_object"}}},
        {"messages": IMAGE},
        {"messages": "redacted-by-litellm"},
        {"messages": [{"role": "user", "content": "redacted-by-litellm"}]},
        {"messages": [{"role": "tool", "content": "7"}]},
        {"response": answer(message={"role": "assistant", "content": None, "tool_calls": [{}]})},
        {"response": answer(finish_reason="length")},
        {"response": {"choices": [*answer()["choices"], *answer()["choices"]]}},  # type: ignore[misc]
        {"response": answer(message={"role": "assistant", "content": "x" * 200_000})},
        {"call_type": "aresponses"},
        {"goes_on": True},
        {"is_signed": True},
        {"tells_nothing": True},
        {"cache_hit": True},
        {"status": "failure"},
        {"error_str": "Client disconnected"},
    ],
)
def test_what_a_judge_could_not_compare_is_not_offered(changed: dict[str, Any]) -> None:
    assert offered(**changed) is None
