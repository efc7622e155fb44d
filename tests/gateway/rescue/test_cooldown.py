"""If the plugin ended an attempt, LiteLLM reads that the caller's timeout ended it; and only then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slo_router.gateway.rescue.cooldown import AT_ONCE, forgive
from slo_router.worker.attempt import Attempt
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S


@pytest.mark.parametrize("is_given_up", [True, False])
def test_only_what_was_given_up_is_forgiven_and_the_next_attempt_has_its_own(*, is_given_up: bool) -> None:
    trace, own = Trace("acompletion", NOW_S), {"timeout": 60.0}
    trace.begin(Attempt("a", is_sent=True, is_given_up=is_given_up))
    logging = SimpleNamespace(litellm_params=own, model_call_details={"litellm_params": own})
    forgive(trace, {"litellm_logging_obj": logging})
    assert logging.model_call_details["litellm_params"] == {**own, **(AT_ONCE if is_given_up else {})}
    assert logging.litellm_params == {"timeout": 60.0}


def test_a_call_without_a_log_is_left_alone() -> None:
    trace = Trace("acompletion", NOW_S)
    trace.begin(Attempt("a", is_given_up=True))
    for request in ({}, {"litellm_logging_obj": None}, {"litellm_logging_obj": SimpleNamespace(model_call_details={})}):
        forgive(trace, request)
