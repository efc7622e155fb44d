"""A circuit breaker: keeps new traffic off a deployment that fails, and lets it back gradually. Pure.

    closed ──FAILURES in a row──→ open ──after a pause, one probe──→ succeeds: closed, its share grows from FIRST_SHARE
       ↑                            ↑                                   fails: open again, twice the pause
       └──────── any success ───────┴──────────────────────────────────────┘

The probe is a health check of the plugin, and goes out a moment before a request could. If a deployment has no health
check, a request is the probe. A request is the probe, too, after every REQUEST_EVERY failures in a row, because the
health check itself may be what fails.

A deployment that answers nothing at the moment is suspected to hang, but it may just be busy with long prompts. So a
suspicion shuts it for SUSPECT_S, and then lets one request through each SUSPECT_S. If the deployment answers anything,
the circuit closes as if nothing had happened. If SUSPECT_REQUESTS of those requests stay unanswered, that is a failure.
Each worker has its own suspicions.

A slow deployment is not broken: a success closes the circuit however long it took, and the deployment then ranks by its
prediction. A group of one deployment never cools down in LiteLLM, which is one reason for a breaker of our own. Between
workers the latest change wins. A change that lies in the future comes from a wrong clock and is ignored.
"""

from __future__ import annotations

from typing import NamedTuple

from slo_router.contract.units import CLOCK_SKEW_S

FAILURES = 3  # in a row; with fewer, a single flaky answer would cost a deployment its traffic
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 6.0  # with a probe on top of it, traffic is back well within 15 s of recovery
HEARSAY = 2.0  # a worker that only heard of an open circuit waits this many times as long: one probe is enough for all
SUSPECT_S, SUSPECT_REQUESTS = 1.0, 2
PROBE_S = 10.0  # a probe whose end nobody reported is forgotten after this
PROBE_EARLY_S = 0.5  # a health check goes out so much before a request could: two looks of the background job
REQUEST_EVERY = 10  # failures in a row: then a request probes
FIRST_SHARE = 0.1
RAMP_S = 5.0  # from FIRST_SHARE to everything


class Circuit(NamedTuple):
    """One deployment's breaker. Times are Unix seconds."""

    failures: int = 0  # in a row; 0 in an open circuit: it is only suspected
    is_open: bool = False
    changed_at_s: float | None = None  # `None`: it never opened
    pause_s: float = FIRST_PAUSE_S
    probe_at_s: float | None = None


CLOSED = Circuit()


def failed(circuit: Circuit, now_s: float, sent_at_s: float | None = None) -> Circuit:
    """After an error or timeout that is the deployment's fault, of a request that was sent at `sent_at_s`."""
    if is_suspected(circuit):  # a health check under way remains the probe, so that no request has to be one
        own = circuit.probe_at_s if circuit.probe_at_s != sent_at_s else None
        return _opened(FAILURES, now_s)._replace(probe_at_s=own)
    failures = circuit.failures + 1
    if circuit.is_open:
        if sent_at_s is None or sent_at_s != circuit.probe_at_s:  # not the probe: it was sent before the circuit opened
            return circuit._replace(failures=failures)
        return Circuit(failures, is_open=True, changed_at_s=now_s, pause_s=min(circuit.pause_s * 2, LONGEST_PAUSE_S))
    if _is_ramping(circuit, now_s):
        return _opened(max(failures, FAILURES), now_s, min(circuit.pause_s * 2, LONGEST_PAUSE_S))
    return circuit._replace(failures=failures) if failures < FAILURES else _opened(failures, now_s)


def suspected(circuit: Circuit, now_s: float) -> Circuit:
    """After a deployment turned out to answer nothing at the moment."""
    return failed(circuit, now_s) if _is_ramping(circuit, now_s) else _opened(0, now_s)


def is_suspected(circuit: Circuit) -> bool:
    """Whether it is open only because of a suspicion."""
    return circuit.is_open and circuit.failures == 0


def _opened(failures: int, now_s: float, pause_s: float = FIRST_PAUSE_S) -> Circuit:
    return Circuit(failures, is_open=True, changed_at_s=now_s, pause_s=pause_s)


def _is_ramping(circuit: Circuit, now_s: float) -> bool:
    return not circuit.is_open and circuit.changed_at_s is not None and share(circuit, now_s) < 1


def succeeded(circuit: Circuit, now_s: float) -> Circuit:
    """After an answer, however slow."""
    if is_suspected(circuit):
        return CLOSED
    if circuit.is_open:
        return Circuit(is_open=False, changed_at_s=now_s, pause_s=circuit.pause_s)
    return circuit if circuit.failures == 0 else circuit._replace(failures=0)


def probed(circuit: Circuit, now_s: float) -> Circuit:
    """After a request or a health check was sent while the circuit was open."""
    return circuit._replace(probe_at_s=now_s) if circuit.is_open else circuit


def share(circuit: Circuit, now_s: float) -> float:
    """The part of the traffic (0..1) that may be sent now; an open circuit whose pause is over lets one probe pass."""
    if circuit.changed_at_s is None:
        return 1.0
    if circuit.is_open:
        return 1.0 if _is_pause_over(circuit, now_s) else 0.0
    since_s = abs(now_s - circuit.changed_at_s)
    return min(1.0, FIRST_SHARE + (1 - FIRST_SHARE) * since_s / RAMP_S)


def is_probe_due(circuit: Circuit, now_s: float) -> bool:
    """Whether a health check is to ask now if the deployment answers again."""
    if is_suspected(circuit):
        return circuit.probe_at_s is None
    return circuit.is_open and circuit.failures % REQUEST_EVERY != 0 and _is_pause_over(circuit, now_s + PROBE_EARLY_S)


def latest(own: Circuit, other: Circuit, now_s: float) -> Circuit:
    """What a worker believes after hearing of another's circuit."""
    if is_suspected(other) or other.changed_at_s is None or other.changed_at_s > now_s + CLOCK_SKEW_S:
        return own
    if own.changed_at_s is not None and own.changed_at_s >= other.changed_at_s:
        is_same = own.is_open and own.changed_at_s == other.changed_at_s
        if not is_same or other.probe_at_s is None or other.probe_at_s > now_s + CLOCK_SKEW_S:
            return own
        return own._replace(probe_at_s=max(own.probe_at_s or 0.0, other.probe_at_s))
    pause_s = min(other.pause_s * HEARSAY, LONGEST_PAUSE_S * HEARSAY) if other.is_open else other.pause_s
    return other._replace(pause_s=pause_s)


def _is_pause_over(circuit: Circuit, now_s: float) -> bool:
    """Whether an open circuit lets a probe pass. A clock that was set back must not block probes for ever."""
    since_s, probe_at_s = circuit.changed_at_s, circuit.probe_at_s
    pause_s, probe_s = (SUSPECT_S, SUSPECT_S) if is_suspected(circuit) else (circuit.pause_s, PROBE_S)
    if since_s is None or abs(now_s - since_s) < pause_s:
        return False
    if is_suspected(circuit) and probe_at_s is not None and probe_at_s < since_s + SUSPECT_S:
        return True  # the probe was a health check; no request has passed yet
    return probe_at_s is None or abs(now_s - probe_at_s) >= probe_s
