"""Notices from waiting and late requests that a deployment hangs or has become slower. Pure.

An answer is an event; a missing answer is none. So the background job looks some times a second. While this process
itself stood still (`Stalls`), the times that it measured say nothing about a deployment.
"""

from __future__ import annotations

from collections import deque

from slo_router.latency.curve import Curve, slower, ttft_s
from slo_router.live.circuit import SUSPECT_REQUESTS, failed, is_suspected, suspected
from slo_router.live.state import LEASE_S, MAX_LEVEL, QUEUE, Flight, LastWord, LiveState

OVERDUE_FLIGHTS = 3  # with so many of all workers overdue, and none answered since, a deployment seems to hang
LATE = 1.5  # × its expected time: later than the spread explains …
VERY_LATE = 3.0  # … and so late that one answer is enough to believe it
MAX_PAUSES = 8
MOST_STILL = 0.1  # if this process stood still for more of a request's time, the time is no measurement
MAX_STALLS = 64
LEAST_S = 0.001  # no first token is expected sooner
OUT_S, READ_S = 0.1, 0.05  # a call is out after OUT_S at most; an answer that came is read within READ_S

Stalls = deque[tuple[float, float]]  # from … to, Unix seconds, oldest first


def no_stalls() -> Stalls:
    """An empty list, which will keep the last `MAX_STALLS`."""
    return deque(maxlen=MAX_STALLS)


def is_disturbed(stalls: Stalls, from_s: float, to_s: float) -> bool:
    """Whether this process stood still for too much of that time."""
    return stood_still_s(stalls, from_s, to_s) > MOST_STILL * (to_s - from_s)


def stood_still_s(stalls: Stalls, from_s: float, to_s: float) -> float:
    """For how much of that time this process stood still."""
    still_s = 0.0
    for start_s, end_s in reversed(stalls):
        if end_s <= from_s:  # earlier stalls ended even sooner
            break
        still_s += max(0.0, min(to_s, end_s) - max(from_s, start_s))
    return still_s


def held_up_s(stalls: Stalls, sent_s: float, now_s: float) -> float:
    """How many seconds of the silence since a call at `sent_s` are due to this process's own stalls.

    A stall that began before the call was out counts in full: the deployment had nothing to answer. Later stalls count
    for `READ_S` at most: an answer that came meanwhile only has to be read.
    """
    before = [stall for stall in stalls if stall[0] < sent_s + OUT_S]
    unsent_s = stood_still_s(deque(before), sent_s, now_s)
    return unsent_s + min(stood_still_s(stalls, sent_s, now_s) - unsent_s, READ_S)


def waited(state: LiveState, flight: Flight, waited_s: float) -> None:
    """A first token came after `waited_s`. After a very late one, a late one confirms the slowness, others end it."""
    said, before, fitted = LastWord(flight.at_s), state.last_word, state.fitted
    if fitted is not None:
        level, counts = _level(fitted, flight, waited_s), before.level_at(flight.at_s) > 0
        if level > (LATE if counts else VERY_LATE) * fitted.ttft_level:
            pauses = before.pauses + (before.level > 0 and not counts)
            base_s = _base_s(fitted, fitted, flight.in_flight)
            said = LastWord(flight.at_s, level, min(pauses, MAX_PAUSES), flight.in_flight, base_s)
    state.last_word = max(before, said)


def _level(fitted: Curve, flight: Flight, waited_s: float) -> float:
    """The level at which a flight takes `waited_s`, by the present fit, which has learned since the dispatch."""
    if flight.curve is None:
        return 0.0
    learned = _base_s(fitted, flight.curve, flight.in_flight) / _base_s(fitted, fitted, flight.in_flight)
    return min(flight.level(waited_s) * learned, MAX_LEVEL)


def _base_s(fitted: Curve, curve: Curve, load: float) -> float:
    """The TTFT by a curve without its level, at that load, for a usual request: as the fit saw them."""
    return max(ttft_s(curve, fitted.known_tokens, load, fitted.hidden_tokens) / curve.ttft_level, LEAST_S)


def gave_up(state: LiveState, stalls: Stalls, flight: Flight, now_s: float) -> None:
    """A request was given up before its first token. If it was late, it counts as if it still waited."""
    if is_disturbed(stalls, flight.at_s, now_s):
        return
    if flight.is_overdue(now_s):
        state.given_up = (*state.given_up, flight.at_s)[-OVERDUE_FLIGHTS:]
    fitted, waited_s = state.fitted, now_s - flight.at_s
    if fitted is not None and _level(fitted, flight, waited_s) > VERY_LATE * fitted.ttft_level:
        waited(state, flight, waited_s)


def overdue(state: LiveState, stalls: Stalls, now_s: float) -> list[float]:
    """Dispatch times of overdue flights, waiting or given up, since whose dispatch nothing was answered."""
    left = [at_s for at_s in state.given_up if at_s > state.answered_at_s and now_s - at_s < LEASE_S]
    return left + [
        flight.at_s
        for key, flight in state.flights.items()
        if flight.is_overdue(now_s)
        and flight.at_s > state.answered_at_s
        and key not in state.begun
        and not is_disturbed(stalls, flight.at_s, now_s)
    ]


def suspect(state: LiveState, stalls: Stalls, now_s: float) -> None:
    """Opens the circuit of a deployment that answers nothing."""
    found = overdue(state, stalls, now_s) if state.flights or state.given_up else ()
    if is_suspected(state.circuit):
        if sum(at_s > (state.circuit.changed_at_s or 0.0) for at_s in found) >= SUSPECT_REQUESTS:
            state.circuit = failed(state.circuit, now_s)
    elif found and not state.circuit.is_open:
        elsewhere = sum(at_s > state.answered_at_s for at_s in state.overdue_elsewhere)
        if len(found) + elsewhere >= OVERDUE_FLIGHTS:
            state.circuit = suspected(state.circuit, now_s)


def was_silent(state: LiveState, flight: Flight, now_s: float) -> None:
    """A silent request was given up. If that may be a hang, the circuit opens, so that no request meets it.

    Without a queue it may be a hang if no request sent later has its first token. With a queue a busy deployment still
    answers earlier requests. Then it may be a hang only if nothing at all was answered since.
    """
    answered_s = state.begun_until_s if flight.in_flight < QUEUE else state.answered_at_s
    if answered_s < flight.at_s and not state.circuit.is_open:
        state.circuit = suspected(state.circuit, now_s)


def slow_down(state: LiveState, stalls: Stalls, now_s: float) -> None:
    """Makes the curve slower while a request waits longer than expected, or the last one did.

    At one request per second the fit alone would need several late answers to follow.
    """
    fitted, said = state.fitted, state.last_word
    if fitted is None:
        return
    level = 0.0 if said.is_drained(state.in_flight) else said.level_at(now_s)
    if level:
        level *= said.base_s / _base_s(fitted, fitted, said.load)
    for key, flight in state.flights.items():
        if key not in state.begun and flight.at_s > state.begun_until_s:
            waits = not is_disturbed(stalls, flight.at_s, now_s)
            level = max(level, _level(fitted, flight, now_s - flight.at_s) if waits else 0.0)
    factor = level / fitted.ttft_level
    state.curve = slower(fitted, factor) if factor > LATE else fitted
