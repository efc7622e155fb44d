"""Gives each attempt of a group with `rescue` its deadline, and asks another deployment in place of a silent stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial

from slo_router.contract.settings.group import RescueSettings
from slo_router.gateway.faults import fault_of
from slo_router.gateway.requests import Request
from slo_router.gateway.rescue.ahead import Ahead, adopt, again, is_guarded, source_of
from slo_router.gateway.rescue.alarm import AttemptAlarm, give_up
from slo_router.gateway.rescue.permission import TEXT, may_be_followed
from slo_router.gateway.router import current_router
from slo_router.gateway.seams import can_interrupt
from slo_router.rescue.deadline import Deadline
from slo_router.rescue.rescues import LOOK_S, Verdict
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.attempt import ENDINGS, Attempt
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace

log = logging.getLogger("slo_router")

RACE = 2.0  # × the first stream's deadline: for so long both streams are read if the second is silent, too


class Rescuer:
    """Rescues the requests of one worker."""

    def __init__(self, callback: object, strategy: Strategy, telemetry: Telemetry) -> None:
        self._callback = callback
        self._strategy = strategy
        self._telemetry = telemetry
        self._can = can_interrupt()

    def watch(self, trace: Trace, call: Mapping[str, object]) -> None:
        """An attempt is sent: sets its alarm. If that fails, the request goes on without an alarm."""
        group = self._strategy.groups.get(trace.group)
        if group is None or not group.settings.rescue.is_on or not self._can:
            return
        try:
            self._watch(trace, call, group.settings.rescue)
        except Exception:
            log.exception("a request goes on without a deadline")

    def _watch(self, trace: Trace, call: Mapping[str, object], settings: RescueSettings) -> None:
        attempt = trace.attempt
        if len(trace.sent_to) == 1:
            self._strategy.rescues.budget.earn(trace.group, settings.budget, time.time())
        stop(trace)
        if attempt is None or attempt.flight is None or trace.decision is None:
            return
        if trace.rescue is not None and trace.stream:
            self._strategy.rescues.followed(trace.group, attempt.flight)
        if not may_be_followed(trace, call, current_router()):
            return
        at_s = attempt.flight.at_s
        deadline = self._strategy.rescues.deadline(
            trace.decision,
            attempt.flight,
            settings,
            tried=trace.tried,
            stream=trace.stream,
            waited_s=at_s - trace.arrived_s,
        )
        if deadline is None:
            return
        attempt.deadline_s, attempt.longest_s = at_s + deadline.due_s, deadline.longest_s
        if trace.rescue is not None or (trace.stream and trace.call_type in TEXT):  # a text's: see `_read_ahead`
            return
        left_s = max(attempt.deadline_s - time.time(), 0.0)
        tell = partial(self._telemetry.rescues.silent, trace.group)
        trace.alarm = AttemptAlarm(self._strategy, trace, attempt, left_s, tell)

    async def read_ahead(self, trace: Trace, response: object, data: Request, key: object) -> None:
        """A stream is about to leave: waits for its first token, and if it is silent asks another deployment.

        What was read is the trace's `ahead`. If reading fails, the request goes on without a deadline.
        """
        stop(trace)
        try:
            await self._read_ahead(trace, response, data, key)
        except Exception:
            log.exception("a stream goes on without a deadline")

    async def _read_ahead(self, trace: Trace, response: object, data: Request, key: object) -> None:
        attempt = trace.attempt
        if attempt is None or attempt.deadline_s is None or not trace.stream or not trace.awaits_token:
            return
        if not hasattr(response, "__aiter__") or is_guarded():
            return
        if trace.call_type in TEXT and attempt.flight is not None:  # LiteLLM sends it only when its stream is read
            attempt.deadline_s += max(time.time() - attempt.flight.at_s, 0.0)
        ahead: Ahead | None = Ahead(response, source_of(response, self._callback, data, key))
        while ahead is not None:
            trace.ahead = ahead
            ahead = await self._next(ahead, trace, data, key)

    async def _next(self, ahead: Ahead, trace: Trace, data: Request, key: object) -> Ahead | None:
        """Another deployment's stream, where this one is silent or broken; `None` where this one is to leave."""
        attempt = trace.attempts[-1]
        wait_s, told = _left_s(attempt), ""
        while wait_s is not None and not await ahead.token_within(wait_s):
            if trace.attempts[-1] is not attempt:  # LiteLLM went on elsewhere by itself
                attempt = trace.attempts[-1]
                wait_s = _left_s(attempt)
                continue
            if attempt.ending is not None:  # LiteLLM is about to go on elsewhere
                wait_s = LOOK_S
                continue
            verdict = self._verdict(trace, attempt)
            # A client that leaves is not noticed here. So after another verdict than "wait" this looks once more only.
            wait_s = verdict.wait_s if verdict.reason == "wait" or not told else None
            if verdict.reason not in ("wait", told):
                told = verdict.reason
                self._telemetry.rescues.silent(trace.group, attempt.deployment_id, verdict.reason)
            if verdict.reason == "rescue":
                return await self._instead(ahead, trace, data, key)
        return await self._after_break(ahead, trace, data, key)

    def _verdict(self, trace: Trace, attempt: Attempt) -> Verdict:
        flight, decision, now_s = attempt.flight, trace.decision, time.time()
        if flight is None or decision is None or attempt.deadline_s is None or trace.rescue is not None:
            return Verdict("alone")
        held_up_s = self._strategy.live.held_up_s(flight, now_s)
        if now_s - attempt.deadline_s < held_up_s:  # what came may not be read yet
            return Verdict("wait", held_up_s)
        deadline = Deadline(attempt.deadline_s - flight.at_s, attempt.longest_s)
        return self._strategy.rescues.verdict(
            decision, flight, now_s, deadline=deadline, group=trace.group, tried=trace.tried
        )

    async def _instead(self, first: Ahead, trace: Trace, data: Request, key: object) -> Ahead | None:
        """Another deployment's stream in place of one that is silent; `None` where that fails."""
        attempt, decision = trace.attempt, trace.decision
        if attempt is None or attempt.flight is None or attempt.deadline_s is None:
            return None
        give_up(self._strategy, trace, attempt)
        second = await self._another(first, trace, data, key, attempt.deadline_s - attempt.flight.at_s)
        if second is None:
            trace.decision, trace.rescue = decision, None
            trace.begin(Attempt(attempt.deployment_id, is_sent=True, sent_s=attempt.sent_s))
        return second

    async def _after_break(self, first: Ahead, trace: Trace, data: Request, key: object) -> Ahead | None:
        """Another deployment's stream in place of one that broke; `None` if it did not break, or no other answers."""
        return await self._another(first, trace, data, key, 0.0) if self._may_repeat(trace, first) else None

    def _may_repeat(self, trace: Trace, broken: Ahead) -> bool:
        """Whether another deployment is asked in place of a stream that broke, as LiteLLM retries before the headers.

        A stream that ended without an error may be billed, so the next one is paid from the budget.
        """
        attempt, rescues = trace.attempts[-1], self._strategy.rescues
        fault = "deployment" if broken.is_cut else None if broken.error is None else fault_of(broken.error)
        if attempt.deadline_s is None or fault not in ("deployment", "quota"):
            return False
        if trace.decision is None or not rescues.has_other(trace.decision, trace.tried):
            return False
        if broken.is_cut and not rescues.budget.take(trace.group, time.time()):
            return False
        self._strategy.finish(trace, ENDINGS[fault])
        return True

    async def _another(self, first: Ahead, trace: Trace, data: Request, key: object, within_s: float) -> Ahead | None:
        """Sends the request through LiteLLM's router again, and reads the answer for `within_s`. `None` if it fails."""
        second: Ahead | None = None
        first.is_left = True
        try:
            while second is None:
                trace.repeats += 1
                answer, request = await again(data, trace.call_type)
                stop(trace)  # its alarm would interrupt this task, which sends the answer
                second = Ahead(answer, source_of(answer, self._callback, request, key))
                if not await second.token_within(within_s) and within_s:
                    await second.keep_ahead_of(first, RACE * within_s)
                if self._may_repeat(trace, second):
                    await second.close()
                    second = None
            second.check()
        except Exception:
            log.warning("a rescue failed; the first deployment's answer is what there is", exc_info=True)
            first.is_left = False
            if second is not None:
                await second.close()
            self._strategy.supersede(trace)
            return None
        except BaseException:  # the client left
            for one in (first, second):
                if one is not None:
                    await one.close()
            raise
        second.headers = adopt(first.response, answer, data, request)
        await first.close()
        return second


def _left_s(attempt: Attempt) -> float | None:
    """The seconds until an attempt's deadline; `None` where it has none."""
    return None if attempt.deadline_s is None else max(attempt.deadline_s - time.time(), 0.0)


def stop(trace: Trace) -> None:
    """Cancels the alarm of the attempt under way."""
    if trace.alarm is not None:
        trace.alarm.cancel()
        trace.alarm = None
