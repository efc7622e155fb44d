"""What each attempt teaches the live measurements: when its first token came, and how it ended."""

from __future__ import annotations

from slo_router.contract.model import Decision
from slo_router.contract.record import RequestRecord
from slo_router.contract.units import MS
from slo_router.decision.scarcity import turned_away, would_leave
from slo_router.live.live import Live
from slo_router.live.sizes import is_known, size_of
from slo_router.live.state import ERRORS, Ending, Landing
from slo_router.request.lengths import Length
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import shown_tokens
from slo_router.worker.trace import Trace

ENOUGH_LENGTHS = 20.0  # so many answers tell how long one may get
HARDLY_EXCEEDED = 0.99
TEACH_AT_ONCE = ("error", "silent", "full")


class Lessons:
    """The lessons of one worker's attempts. Times are Unix seconds."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._awaited: dict[int, tuple[Attempt, Trace]] = {}  # streams whose first token was not learned yet
        self._is_warm = False

    def see_scarcity(self, decision: Decision, now_s: float) -> None:
        """Learns from a decision which deployments turned the request away, and which scarce places it would leave."""
        states = self._live.states
        for name, load in turned_away(decision, states):
            self._live.turned_away(name, load, now_s)
        for name, usd_per_s, stay_s in would_leave(decision, states):
            self._live.would_leave(name, usd_per_s, stay_s, now_s)

    def await_token(self, attempt: Attempt, trace: Trace) -> None:
        """A stream was sent: waits for its first token."""
        if attempt.flight is not None and not trace.may_run_tools:  # else its end tells
            self._awaited[id(attempt)] = attempt, trace

    def see_first_tokens(self) -> None:
        """Learns from the first tokens that came since the last call."""
        for key, (attempt, trace) in list(self._awaited.items()):
            if attempt.flight is None or not self._live.is_under_way(attempt.flight):
                del self._awaited[key]
            elif attempt.first_token_s is not None:
                del self._awaited[key]
                self._learn_first_token(attempt, trace)

    def _learn_first_token(self, attempt: Attempt, trace: Trace) -> None:
        flight, at_s, tokens = attempt.flight, attempt.first_token_s, _estimated_tokens(trace)
        if flight is None or at_s is None or tokens is None:
            return
        teaches = self._is_warm and at_s > flight.at_s
        self._live.first_token(flight, at_s, prompt_tokens=tokens if teaches else None, ttft_s=at_s - flight.at_s)

    def end(
        self, attempt: Attempt, trace: Trace, ending: Ending, now_s: float, wait_s: float | None = None
    ) -> Landing | None:
        """An attempt is over. Returns what `learn` needs; `None` if it teaches nothing. `wait_s`: see `Live.ended`."""
        if attempt.is_given_up and ending not in ("success", "disconnected"):
            ending = "silent"
        attempt.ending, attempt.ended_s, flight = ending, now_s, attempt.flight
        if flight is None:
            return None
        was_awaited = self._awaited.pop(id(attempt), None) is not None
        if was_awaited and ending == "disconnected":  # LiteLLM may report nothing else of it
            self._learn_first_token(attempt, trace)
        is_warm, self._is_warm = self._is_warm, True
        if ending in ("success", "error", "silent") and trace.decision is not None:
            category = trace.decision.features.category
            self._live.prove(flight.deployment_id, ERRORS, category, is_good=ending == "success")
        if not attempt.is_sent:
            self._live.unsent(flight)
        if not is_warm and ending not in TEACH_AT_ONCE:  # a worker's first request is slower for reasons of its own
            ending = "released"
        return self._live.ended(flight, ending, now_s, wait_s)

    def too_large(self, trace: Trace, share: float, now_s: float) -> None:
        """The attempt under way was refused for its size. A `share` (0..1) of the request would have been accepted."""
        state = None if trace.attempt is None else self._live.states.get(trace.attempt.deployment_id)
        features = None if trace.decision is None else trace.decision.features
        if state is None or features is None or trace.goes_on or trace.tells_nothing:
            return
        if is_known(features):
            state.sizes = state.sizes.without(share * size_of(features), now_s)

    def learn(self, landing: Landing, trace: Trace, record: RequestRecord) -> None:
        """Learns from a request that is over. `landing` is of its last attempt."""
        began_s = landing.flight.at_s
        waited_s = began_s - trace.arrived_s  # in the proxy, and for attempts that failed
        first_s = next((one.first_token_s for one in trace.attempts if one.flight is landing.flight), None)
        self._live.learn(
            landing,
            prompt_tokens=None if record.prompt_tokens is None or trace.ran_tools else _estimated_tokens(trace),
            output_tokens=shown_tokens(record.completion_tokens, record.hidden_tokens, trace),
            ttft_s=None if first_s is None else first_s - began_s,
            e2e_s=None if record.e2e_ms is None else record.e2e_ms * MS - waited_s,
            billed_tokens=record.completion_tokens,
        )


def expected_s(trace: Trace, deployment_id: str, length: Length | None) -> float | None:
    """The predicted seconds to a stream's first token, or to the end of the longest answer in one piece that may come.

    The longest answer counts, for a long answer is no sign that a deployment hangs. Its length is the client's limit,
    or the length that hardly any answer of the deployment exceeds, if that is less and ENOUGH_LENGTHS answers were
    seen. `None` where neither is known.
    """
    decision = trace.decision
    assessments = () if decision is None else decision.assessments
    found = next((one.prediction for one in assessments if one.deployment_id == deployment_id), None)
    if found is None or decision is None or trace.searches:
        return None
    if trace.stream:
        return found.ttft_s
    limits: list[float] = [] if decision.features.limit_tokens is None else [decision.features.limit_tokens]
    if length is not None and length.answers >= ENOUGH_LENGTHS:
        limits.append(length.quantile(HARDLY_EXCEEDED))
    if not limits or found.ttft_s is None or found.tpot_s is None:
        return None
    return found.ttft_s + found.tpot_s * min(limits)


def _estimated_tokens(trace: Trace) -> int | None:
    """The decision's estimate of the prompt tokens that are in no cache: a prediction is made from that, too.

    `None` where the request has only the end of a history that a server holds.
    """
    decision = trace.decision
    return (
        None if decision is None or trace.goes_on else max(decision.features.prompt_tokens - decision.cached_tokens, 0)
    )
