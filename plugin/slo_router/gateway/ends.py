"""How requests end: whose fault a failed attempt is, one record for each request, and what is learned of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from typing import NamedTuple

from litellm.proxy._types import UserAPIKeyAuth

from slo_router.decision.explain import summary
from slo_router.gateway import faults
from slo_router.gateway.feedback.overheard import Overheard
from slo_router.gateway.followed import FollowedRouter
from slo_router.gateway.requests import ROUTED_CALL_TYPES, Request, response_id
from slo_router.live.ratelimit import reports
from slo_router.live.state import LEASE_S, Ending, Landing
from slo_router.request.history import kept_of_answer, ran_tools
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.attempt import ENDINGS, Fault
from slo_router.worker.records import answer_began, build_record, ended_by_itself, has_nothing, outcome_of, usage_of
from slo_router.worker.request_log import RequestLog
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace, find_trace, own_metadata

EMPTY_ANSWER = "EmptyAnswerError"  # as a record names it
BROKEN_S = 2.0  # after this a stream that broke is over, if no other attempt is under way
CLIENT_LEFT = 499  # LiteLLM's status for a client that left, where `cancel_on_disconnect` is on
SESSION = "_aresponses_websocket"  # a call with many answers; LiteLLM reports and bills each one
CHAT, RESPONSES = "acompletion", "aresponses"
MOST_ENDED = 200  # requests whose payloads are held until they are recorded
MOST_BROKEN = 1_000  # broken streams whose payloads are held


class EmptyStreamError(Exception):
    """A stream ended without any content."""


class _Broken(NamedTuple):
    """A request that seems to be over, since `since_s` (Unix seconds). `payload` is LiteLLM's, or made here like it.

    LiteLLM may still go on with a stream that broke. With `is_over` it does not, but it may report the end itself.
    """

    since_s: float
    payload: Mapping[str, object]
    trace: Trace
    is_over: bool = False


class Ends:
    """The requests that ended and are not recorded yet, and the streams that LiteLLM may still go on with."""

    def __init__(
        self,
        strategy: Strategy,
        telemetry: Telemetry,
        request_log: RequestLog,
        followed: FollowedRouter,
        *,
        log_prompts: bool,
    ) -> None:
        self._strategy = strategy
        self._telemetry = telemetry
        self._request_log = request_log
        self._followed = followed
        self._log_prompts = log_prompts
        self.overheard = Overheard(strategy)
        self._ended: deque[tuple[Mapping[str, object], Trace, Landing | None]] = deque()
        self._broken: list[_Broken] = []

    def attempt_failed(self, trace: Trace, error: object, request: Mapping[str, object] | None) -> None:
        """The attempt under way failed; `request` is what was sent, where it is known."""
        self._finish(trace, error, self._fault_of(error, trace, request))

    def _finish(self, trace: Trace, error: object, fault: Fault) -> None:
        if faults.is_too_large(error):
            self._strategy.too_large(trace, faults.taken_share(error))
        wait_s = faults.wait_s(error, time.time()) if fault == "quota" else None
        self._strategy.finish(trace, ENDINGS[fault], wait_s)

    def answer_says(self, trace: Trace, headers: Mapping[str, object]) -> None:
        """An answer leaves: learns from its headers what is left of the provider's limits."""
        flight = trace.attempts[-1].flight if trace.attempts else None
        if flight is not None:
            for report in reports(headers, time.time()):
                self._strategy.live.reported(flight, report)

    def stream_broke(self, trace: Trace, payload: Mapping[str, object], error: object) -> None:
        """An answer had begun and failed: the request is over, unless LiteLLM goes on with it elsewhere."""
        if not answer_began(payload, trace):
            return
        if trace.attempt is not None and trace.attempt.deployment_id == payload.get("model_id"):
            self.attempt_failed(trace, error, None)
        self._hold(_Broken(time.time(), payload, trace))

    def client_left(self, trace: Trace, data: Request, key: UserAPIKeyAuth) -> None:
        """The client left. LiteLLM reports that if it has chunks to bill. If not, the record is made here, later."""
        if trace.recorded or trace.attempt is None:
            return
        self._forget_given_up(trace)
        if trace.awaits_token:  # nothing can be learned from this attempt
            self._strategy.finish(trace, "disconnected")
        self._hold(_Broken(time.time(), self._own_payload(data, key, trace, error=None), trace, is_over=True))

    def stream_ended(self, trace: Trace, data: Request, key: UserAPIKeyAuth) -> None:
        """A stream ended. LiteLLM reports that, unless it was empty (an HTML page, a bare `[DONE]`): a failure.

        Streams of unrouted calls are not judged: this plugin does not know what a token looks like in them.
        """
        is_read = trace.call_type in ROUTED_CALL_TYPES
        if is_read and trace.awaits_token and trace.attempt is not None and not trace.recorded:
            told = self._told_of(trace)
            if told is not None:  # LiteLLM reported an end while another deployment was asked
                self.record(told, trace)
                return
            payload = self._own_payload(data, key, trace, EmptyStreamError())
            self._hold(_Broken(time.time(), payload, trace, is_over=True))

    def was_given_up(self, trace: Trace, payload: Mapping[str, object]) -> bool:
        """Whether this payload is of a silent stream that ended while another deployment is asked in its place.

        The client gets the other deployment's answer, or this stream if the other fails.
        """
        attempt, silent = trace.attempt, None if trace.rescue is None else trace.rescue.attempt.deployment_id
        if attempt is None or silent in (None, attempt.deployment_id) or payload.get("model_id") != silent:
            return False
        self._hold(_Broken(time.time(), payload, trace))
        return True

    def _forget_given_up(self, trace: Trace) -> None:
        """Drops what is held of this request's silent stream, unless it failed: the client got no answer."""
        self._broken = [one for one in self._broken if one.trace is not trace or outcome_of(one.payload) == "error"]

    def _told_of(self, trace: Trace) -> Mapping[str, object] | None:
        """The payload that is held of a request; `None` where none is held."""
        return next((one.payload for one in self._broken if one.trace is trace), None)

    def _hold(self, broken: _Broken) -> None:
        self._broken.append(broken)
        if len(self._broken) > MOST_BROKEN:
            oldest = self._broken.pop(0)
            self.record(oldest.payload, oldest.trace)

    def request_failed(self, trace: Trace, data: Request, key: UserAPIKeyAuth, failure: Exception) -> None:
        """A request failed for good."""
        error = None if getattr(failure, "status_code", None) == CLIENT_LEFT else failure
        if error is None:
            self._strategy.finish(trace, "disconnected")
        else:
            self._finish(trace, error, self._fault_of(error, trace, data, at_proxy=True))
        self._forget_given_up(trace)
        self.record(self._told_of(trace) or self._own_payload(data, key, trace, error), trace)

    def record(self, payload: Mapping[str, object], trace: Trace) -> None:
        """A request is over; `payload` is what LiteLLM logs of it."""
        if _is_raised(payload, trace):
            return
        failure = _failure_told(payload, trace)
        if failure is not None:
            self._finish(trace, failure, self._fault_of(failure, trace, None, at_proxy=True))
            payload = _failed(payload, type(failure).__name__)
        elif has_nothing(payload, trace):
            payload = _failed(payload, EMPTY_ANSWER)
        outcome = outcome_of(payload)
        ending: Ending = "released" if outcome == "cache_hit" or trace.tells_nothing else outcome
        landing = self._strategy.finish(trace, ending)
        if trace.call_type == SESSION:
            trace = _turn_of(payload, trace)
        if trace.recorded:  # LiteLLM called once more with the same request, for a tool of its own
            return
        trace.recorded = True
        if trace.call_type == RESPONSES:
            trace.made = kept_of_answer(payload.get("response"))
        if trace.beginnings or trace.kept or trace.made:  # the conversation's next turn may come at once
            self._settle(payload, trace, landing)
            return
        self._ended.append((payload, trace, landing))
        if len(self._ended) > MOST_ENDED:
            self._settle(*self._ended.popleft())

    def settling(self) -> Generator[None, None, None]:
        """Records and learns from the requests that ended, one per step.

        This runs four times a second. To settle each request as it ends, between other code, takes more CPU.
        """
        self._give_up_broken(time.time())
        while self._ended:
            self._settle(*self._ended.popleft())
            yield
        yield from self.overheard.settling()

    def _settle(self, payload: Mapping[str, object], trace: Trace, landing: Landing | None) -> None:
        payload = self._of_who_answered(payload, trace)
        facts = self._followed.facts(str(payload.get("model_id")))
        trace.ran_tools = ran_tools(payload.get("response"), usage_of(payload))
        record = build_record(payload, trace, facts=facts, log_prompts=self._log_prompts)
        self._request_log.offer(record)
        self._strategy.learn(trace, landing, record, is_whole=ended_by_itself(payload))
        effective = None if trace.is_shadow else trace.decision
        self._telemetry.observe(trace.group, record, effective, self._strategy.facts)
        self._telemetry.rescues.ended(trace.group, record)

    def _of_who_answered(self, payload: Mapping[str, object], trace: Trace) -> Mapping[str, object]:
        """The payload with the deployment that answered, its group, and the id that the client got. LiteLLM may leave
        out the first, may name the second by an alias, and gives a streamed response another id.
        """
        name = payload.get("model_id") or (trace.sent_to[-1] if trace.sent_to else None)
        group = self._strategy.group_of.get(str(name)) if name else trace.group
        told = response_id(trace.last_pieces) if trace.call_type == RESPONSES else None
        known = {"model_group": group, "id": told}
        return {**payload, "model_id": name, **{field: value for field, value in known.items() if value}}

    def _give_up_broken(self, now_s: float) -> None:
        broken, self._broken = self._broken, []
        for one in broken:
            if one.trace.recorded:
                continue
            goes_on = one.trace.attempt is not None and not one.is_over
            if abs(now_s - one.since_s) > (LEASE_S if goes_on else BROKEN_S):
                self.record(one.payload, one.trace)
            else:
                self._broken.append(one)

    def _fault_of(
        self, error: object, trace: Trace, request: Mapping[str, object] | None, *, at_proxy: bool = False
    ) -> Fault:
        """Whose fault a failed attempt is. A client's timeout before the answer was overdue is the request's fault."""
        if trace.tells_nothing:
            return "request"
        if trace.is_impatient and faults.is_timeout(error) and not self._strategy.is_overdue(trace):
            return "request"
        return faults.fault_of(error, request, at_proxy=at_proxy)

    def _own_payload(self, data: Request, key: UserAPIKeyAuth, trace: Trace, error: Exception | None) -> Request:
        """Makes the logging payload of a request that failed for good, or whose client left (`error` is `None`).

        LiteLLM's own payload is of the first attempt that failed, or there is none.
        """
        last = trace.sent_to[-1] if trace.sent_to else None
        facts = None if last is None else self._strategy.facts.get(last)
        return {
            "id": data.get("litellm_call_id"),
            "status": "success" if error is None else "failure",
            "error_str": "Client disconnected" if error is None else None,
            "endTime": time.time(),
            "model_group": data.get("model"),
            "model_id": last,
            "model": None if facts is None else facts.model,
            "error_information": {} if error is None else {"error_class": type(error).__name__},
            "metadata": {
                "user_api_key_hash": key.token,
                "user_api_key_alias": key.key_alias,
                "user_api_key_team_id": key.team_id,
            },
            "messages": data.get("messages"),
        }


def _failure_told(payload: Mapping[str, object], trace: Trace) -> faults.FailedAnswerError | None:
    """The failure that an answer reports, where LiteLLM took that answer for a success."""
    if outcome_of(payload) != "success" or trace.recorded:
        return None
    if trace.stream:
        return faults.failure_at_end(trace.last_pieces)
    return faults.failure_in(payload.get("response")) if trace.call_type == RESPONSES else None


def _is_raised(payload: Mapping[str, object], trace: Trace) -> bool:
    """Whether LiteLLM makes a chat of a failed response. It raises that next, and may ask another deployment."""
    if trace.stream or trace.call_type != CHAT or outcome_of(payload) != "success":
        return False
    return faults.failure_in(payload.get("response")) is not None


def _failed(payload: Mapping[str, object], error_class: str) -> Mapping[str, object]:
    return {**payload, "status": "failure", "error_information": {"error_class": error_class}}


def _turn_of(payload: Mapping[str, object], trace: Trace) -> Trace:
    """The trace of one turn of a session. It begins when the turn began: the session may have been idle before."""
    began_s = payload.get("startTime")
    arrived_s = float(began_s) if isinstance(began_s, int | float) else trace.arrived_s
    return Trace(trace.call_type, arrived_s, group=trace.group, attempts=trace.attempts[-1:], tells_nothing=True)


def share_decision(event: Request) -> None:
    """Puts the decision where LiteLLM's other sinks find it."""
    parameters = event.get("litellm_params")
    trace = find_trace(parameters)
    if trace is None or trace.decision is None or not isinstance(parameters, dict):
        return
    decision = {**summary(trace.decision), "shadow": trace.is_shadow}
    payload = event.get("standard_logging_object")
    shared = payload.get("metadata") if isinstance(payload, dict) else None
    for metadata in (own_metadata(parameters), shared):
        if isinstance(metadata, dict):
            own = metadata.get("spend_logs_metadata")
            metadata["spend_logs_metadata"] = {**(own if isinstance(own, dict) else {}), "slo_router": decision}
