"""Which deployments a health check is to ask now, and what its answer changes. Pure.

It asks a deployment whose circuit is open, whose account is doubted, or that a benchmark found failing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from slo_router.live import account
from slo_router.live.circuit import failed, is_probe_due, probed, succeeded
from slo_router.live.state import LiveState

CHECK_S = 60.0  # between health checks of a deployment that a benchmark found failing

Health = Literal["answers", "fails", "refuses", "unclear"]  # what a health check found


def probes_due(states: Mapping[str, LiveState], now_s: float, leave_out: Collection[str] = ()) -> list[str]:
    """The deployments to ask now whether they answer again. Report each result to `probe_ended`."""
    due = [name for name, state in states.items() if _is_due(state, now_s) and name not in leave_out]
    for name in due:
        state = states[name]
        state.circuit = probed(state.circuit, now_s)
        state.checked_at_s = now_s
        if account.is_doubted(state.account):
            state.account = account.asked(state.account, now_s)
    return due


def _is_due(state: LiveState, now_s: float) -> bool:
    if is_probe_due(state.circuit, now_s) or account.is_question_due(state.account, now_s):
        return True
    return bool(state.proofs) and not state.is_vouched_for and abs(now_s - state.checked_at_s) >= CHECK_S


def probe_ended(
    states: Mapping[str, LiveState], deployment_id: str, sent_at_s: float, now_s: float, health: Health
) -> None:
    """Takes what a probe found that went out at `sent_at_s`. Load and curves do not count probes."""
    state = states.get(deployment_id)
    if state is None:
        return
    if health == "answers":
        state.circuit = succeeded(state.circuit, now_s)
        state.account = account.answered(state.account, now_s)
        state.answered(now_s)
        state.begun_until_s = max(state.begun_until_s, sent_at_s)
        state.vouched_s = state.failing_s
        return
    if account.is_doubted(state.account):  # unless the check is refused, only words that speak of the account count
        is_doubtful = health != "refuses" and not state.account.is_account
        if not is_doubtful and not state.account.is_shut:
            state.doubt_all_of_account(states)
        state.account = (account.answered if is_doubtful else account.denied)(state.account, now_s)
    if health == "unclear":  # then requests may try it
        state.vouched_s = state.failing_s
    if health == "fails":
        state.circuit = failed(state.circuit, now_s, sent_at_s)
    else:  # perhaps only the check is refused
        state.circuit = state.circuit._replace(probe_at_s=None)
