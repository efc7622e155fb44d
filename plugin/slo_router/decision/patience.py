"""Whether a request waits for the first deployment that has room, where all that could answer it are full. Pure.

It waits if the wait and the times predicted after it keep its limits on time, and for `MOST_WAIT_S` in all at most.
Other waiting requests are not counted. A request that finds the room taken decides again, and may wait again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from slo_router.contract.model import Assessment, Decision
from slo_router.live.quota import opens_s
from slo_router.live.state import LiveState

MOST_WAIT_S = 10.0
POLL_S = 0.1  # where room comes with the end of an answer, which nobody can foresee


class Waiting(NamedTuple):
    """A request that could wait: when it arrived (Unix seconds), and for how long it has waited for room so far."""

    arrived_s: float
    waited_s: float
    stream: bool


def room_in_s(decision: Decision, request: Waiting, states: Mapping[str, LiveState], now_s: float) -> float | None:
    """In how many seconds the first deployment has room; `None` where that is too late."""
    others = {one.deployment_id for one in decision.rejections if one.filter != "quota"}
    full = {one.deployment_id for one in decision.rejections} - others
    waits: list[float] = []
    for one in decision.assessments:
        if one.deployment_id in full:
            wait_s = _wait_s(decision, states.get(one.deployment_id), now_s)
            if wait_s <= _patience_s(one, decision, request, now_s):
                waits.append(wait_s)
    return min(waits, default=None)


def _wait_s(decision: Decision, state: LiveState | None, now_s: float) -> float:
    """Seconds until the deployment has room; at least `POLL_S`, because LiteLLM's own counters may be the limit."""
    if state is not None and not state.sizes.takes(decision.features, now_s):
        return math.inf
    if state is None or state.quota is None:
        return POLL_S
    tokens = decision.features.prompt_tokens + decision.features.output_tokens
    return max(opens_s(state.quota, now_s, tokens, state.in_flight - state.foreign, POLL_S) - now_s, POLL_S)


def _patience_s(one: Assessment, decision: Decision, request: Waiting, now_s: float) -> float:
    """Seconds that the request can wait for that deployment. A time that is not predicted counts as 0."""
    slo, predicted, passed_s = decision.slo, one.prediction, now_s - request.arrived_s
    left = [MOST_WAIT_S - request.waited_s]
    if slo.ttft_s is not None and request.stream:
        left.append(slo.ttft_s - passed_s - (predicted.ttft_s or 0.0))
    if slo.e2e_s is not None:
        left.append(slo.e2e_s - passed_s - (predicted.e2e_s or 0.0))
    return min(left)
