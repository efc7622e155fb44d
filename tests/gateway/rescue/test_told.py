"""If LiteLLM asks another deployment by itself after it asked for the headers, a stream's headers name that one."""

from __future__ import annotations

from starlette.responses import Response

from slo_router.contract.model import Decision, Facts
from slo_router.gateway.rescue.told import late, told
from slo_router.worker.attempt import Attempt
from slo_router.worker.trace import Rescue, Trace
from tests.shared.builders import NOW_S, decided


def decision(name: str) -> Decision:
    return decided([Facts(name, "m")])


def stream(name: str) -> Trace:
    trace = Trace("anthropic_messages", NOW_S, group="smart", stream=True)
    trace.decision = decision(name)
    trace.begin(Attempt(name, is_sent=True))
    return trace


def written(headers: dict[str, str]) -> dict[str, str]:
    """The headers as they leave the proxy."""
    return {name: text for name, text in Response(headers=headers).headers.items() if name.startswith("x-")}


def test_they_leave_as_they_were_where_nobody_else_was_asked() -> None:
    trace = stream("a")
    assert written(late(trace)) == late(trace) == told(trace)
    assert told(trace)["x-slo-selected-model"] == told(trace)["x-litellm-model-id"] == "a"


def test_they_name_who_was_asked_meanwhile() -> None:
    trace = stream("a")
    headers = late(trace)
    trace.decision = decision("b")
    trace.begin(Attempt("b", is_sent=True))
    assert headers["x-slo-selected-model"] == "a"
    assert written(headers) == told(trace)
    assert told(trace)["x-slo-selected-model"] == told(trace)["x-litellm-model-id"] == "b"


def test_what_is_not_said_any_more_is_empty() -> None:
    trace = stream("a")
    headers = late(trace)
    trace.decision, trace.note = None, "LiteLLM chose"
    trace.begin(Attempt("b", is_sent=True))
    left = written(headers)
    assert (left["x-slo-selected-model"], left["x-slo-decision"]) == ("b", "passthrough")
    assert left["x-slo-category"] == ""


def test_a_rescue_is_told_once_another_was_asked() -> None:
    trace = stream("a")
    trace.rescue = Rescue("deadline", trace.attempts[0], None)
    assert "x-slo-rescued" not in told(trace)
    trace.begin(Attempt("b", is_sent=True))
    assert told(trace)["x-slo-rescued"] == "deadline"


def test_an_answer_in_one_piece_leaves_litellms_header_alone() -> None:
    trace = stream("a")
    trace.stream = False
    assert "x-litellm-model-id" not in told(trace)


def test_without_a_decision_there_is_something_to_say_only_where_litellm_chose() -> None:
    trace = stream("a")
    trace.decision = None
    assert told(trace) == late(trace) == {}
    trace.note = "shadow: a would have been chosen"
    trace.attempts.clear()
    assert told(trace, "c")["x-slo-selected-model"] == "c"
