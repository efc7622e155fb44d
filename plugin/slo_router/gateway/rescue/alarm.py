"""Looks at one attempt when its deadline passes, and gives it up where that helps.

set ──deadline──→ this process stood still? look again later
                  not yet the moment?       look again when it is
                  given up                  LiteLLM's retry follows
                  anything else             left alone
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from slo_router.contract.prices import cost_usd
from slo_router.gateway.rescue.interrupt import interrupt, waits_on
from slo_router.rescue.deadline import Deadline, fresh_tokens
from slo_router.rescue.rescues import Reason
from slo_router.worker.attempt import Attempt
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Rescue, Trace

SETTLED_S = 0.02  # a task must wait so long on one thing before that may be ended; a look-up in memory takes less
MOST_LOOKS, MOST_UNSETTLED = 200, 10  # reached where bytes without content keep coming

Tell = Callable[[str, Reason], None]  # takes the deployment's id and the reason


class AttemptAlarm:
    """The alarm of one attempt. Create it in the task that the attempt runs in."""

    __slots__ = (
        "_attempt",
        "_handle",
        "_is_late",
        "_looks",
        "_loop",
        "_strategy",
        "_task",
        "_tell",
        "_told",
        "_trace",
        "_waiting",
    )

    def __init__(self, strategy: Strategy, trace: Trace, attempt: Attempt, deadline_s: float, tell: Tell) -> None:
        self._strategy = strategy
        self._trace = trace
        self._attempt = attempt
        self._tell = tell
        self._told = ""
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[Any] | None = None
        self._is_late = False
        self._looks = 0
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(deadline_s, self._look)

    def cancel(self) -> None:
        """Stops looking at the attempt."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._task = self._waiting = None

    def _look(self) -> None:
        self._looks += 1
        task, trace, attempt = self._task, self._trace, self._attempt
        is_over = task is None or task.done() or trace.attempt is not attempt or self._looks > MOST_LOOKS
        flight, decision, deadline_s = attempt.flight, trace.decision, attempt.deadline_s
        if task is None or is_over or flight is None or decision is None or deadline_s is None:
            self.cancel()
            return
        now_s = time.time()
        held_up_s = 0.0 if self._is_late else self._strategy.live.held_up_s(flight, now_s)
        if held_up_s > 0:  # what came meanwhile may not be read yet
            self._is_late = True
            self._again(held_up_s)
            return
        waiting = waits_on(task)
        if waiting is None or (waiting is not self._waiting and self._looks < MOST_UNSETTLED):
            self._waiting = waiting
            self._again(SETTLED_S)
            return
        deadline = Deadline(deadline_s - flight.at_s, attempt.longest_s)
        verdict = self._strategy.rescues.verdict(
            decision, flight, now_s, deadline=deadline, group=trace.group, tried=trace.tried
        )
        if verdict.reason == "rescue":
            give_up(self._strategy, trace, attempt)
            self.cancel()
            interrupt(waiting)
        elif verdict.wait_s is not None:
            self._again(verdict.wait_s)
        if verdict.reason not in ("wait", self._told):
            self._told = verdict.reason
            self._tell(attempt.deployment_id, verdict.reason)

    def _again(self, after_s: float) -> None:
        self._handle = self._loop.call_later(after_s, self._look)


def give_up(strategy: Strategy, trace: Trace, attempt: Attempt) -> None:
    """Marks the silent attempt as given up: the request goes on to another deployment."""
    facts, usd = strategy.facts.get(attempt.deployment_id), None
    if facts is not None and trace.decision is not None:
        waited_s = None if attempt.sent_s is None else time.time() - attempt.sent_s
        usd = cost_usd(facts, fresh_tokens(trace.decision), 0, seconds=waited_s)
    attempt.is_given_up = True
    trace.rescue = Rescue("deadline", attempt, usd)
