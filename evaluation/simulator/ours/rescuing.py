"""When the plugin's rescue looks at an attempt, and what it does then. It is the plugin's own code that decides."""

from __future__ import annotations

from evaluation.simulator.engine import RETRIES
from slo_router.contract.settings.group import RescueSettings
from slo_router.rescue.deadline import Deadline
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Rescue, Trace


def deadline_s(worker: Strategy, trace: Trace, group: str, settings: RescueSettings, now_s: float) -> float | None:
    """See Policy; `now_s` is in Unix seconds. Also `None` if LiteLLM would not try again."""
    attempt, decision = trace.attempt, trace.decision
    if len(trace.sent_to) == 1:
        worker.rescues.budget.earn(group, settings.budget, now_s)
    if attempt is None or attempt.flight is None or decision is None:
        return None
    if trace.rescue is not None and trace.stream:
        worker.rescues.followed(group, attempt.flight)
    if trace.rescue is not None or len(trace.sent_to) > RETRIES:
        return None
    deadline = worker.rescues.deadline(
        decision,
        attempt.flight,
        settings,
        tried=trace.tried,
        stream=trace.stream,
        waited_s=attempt.flight.at_s - trace.arrived_s,
    )
    if deadline is None:
        return None
    attempt.deadline_s, attempt.longest_s = attempt.flight.at_s + deadline.due_s, deadline.longest_s
    return deadline.due_s


def look(worker: Strategy, trace: Trace, group: str, now_s: float) -> float | None:
    """See Policy. Does what the plugin's alarm does; `now_s` is in Unix seconds."""
    attempt, decision = trace.attempt, trace.decision
    if attempt is None or attempt.flight is None or decision is None or attempt.deadline_s is None:
        return None
    verdict = worker.rescues.verdict(
        decision,
        attempt.flight,
        now_s,
        deadline=Deadline(attempt.deadline_s - attempt.flight.at_s, attempt.longest_s),
        group=group,
        tried=trace.tried,
    )
    if verdict.reason != "rescue":
        return verdict.wait_s
    attempt.is_given_up, trace.rescue = True, Rescue("deadline", attempt, None)
    return 0.0
