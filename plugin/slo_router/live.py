"""What one worker sees of its deployments while it serves: load, latencies, failures. No I/O, and no clock of its own.

    a pick    → dispatched() → Flight ──→ finished(): in-flight falls, an Observation, the circuit hears of it
    each second: export() → (Redis) → absorb(the others' exports): curves, everybody's load, circuits

Each worker publishes only what it saw itself, as sums that can be added, so nobody reads, changes and writes back what
another wrote. The request path reads `states` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from slo_router.circuit import CLOSED, HEARSAY, LONGEST_PAUSE_S, Circuit, failed, latest, probed, succeeded
from slo_router.evidence import Evidence, Prior, fit
from slo_router.latency import Curve, Observation

Ending = Literal["success", "error", "disconnected", "released"]
LEASE_S = 300.0  # a flight whose end nobody reported is forgotten after this
OVERDUE_FLIGHTS = 3  # that many unanswered, long past their time, and none answered since: it hangs
OVERDUE_FACTOR = 1.5  # times the time predicted at p95 …
OVERDUE_MARGIN_S = 0.5  # … plus this
MAX_LOAD = 1e6
MAX_UNIX_S = 1e12
MAX_DEPLOYMENTS = 10_000  # of one worker's export: more is not a worker of ours


class Flight(NamedTuple):
    """One attempt on its way. `in_flight` is the load it met, itself not counted; `due_s` is when it is overdue."""

    deployment_id: str
    at_s: float
    in_flight: float
    curve: Curve | None
    due_s: float


@dataclass(slots=True)
class LiveState:
    """One deployment as this worker knows it now."""

    flights: dict[int, Flight] = field(default_factory=dict)  # by identity, oldest first
    elsewhere: float = 0.0  # in flight at the other workers, when they last said, and what they know of foreign
    foreign: float = 0.0  # what the server itself reports beyond what this proxy sent; the elected worker's alone
    curve: Curve | None = None
    circuit: Circuit = CLOSED
    evidence: Evidence = field(default_factory=Evidence)
    answered_at_s: float = 0.0

    @property
    def in_flight(self) -> float:
        """Requests on their way to this deployment, from all workers."""
        return len(self.flights) + self.elsewhere + self.foreign


class Live:
    """The worker's own state, by deployment id."""

    def __init__(self) -> None:
        self.states: dict[str, LiveState] = {}

    def in_flight(self, deployment_id: str) -> float:
        """Requests on their way to a deployment, from all workers."""
        state = self.states.get(deployment_id)
        return 0.0 if state is None else state.in_flight

    def in_flight_of_all(self, deployment_id: str) -> float:
        """The same without what is foreign: what this proxy's workers sent."""
        state = self._state(deployment_id)
        return state.in_flight - state.foreign

    def heard_of_foreign(self, deployment_id: str, requests: float) -> None:
        """The server reports `requests` more than this proxy's workers sent."""
        self._state(deployment_id).foreign = requests

    def dispatched(self, deployment_id: str, now_s: float, expected_s: float | None = None) -> Flight:
        """A request goes to a deployment, `expected_s` being its predicted time to the end. End it with `finished`."""
        state = self._state(deployment_id)
        due_s = now_s + (LEASE_S if expected_s is None else OVERDUE_FACTOR * expected_s + OVERDUE_MARGIN_S)
        flight = Flight(deployment_id, now_s, state.in_flight, state.curve, due_s)
        state.flights[id(flight)] = flight
        if state.circuit.is_open:
            state.circuit = probed(state.circuit, now_s)
        return flight

    def finished(
        self,
        flight: Flight,
        ending: Ending,
        now_s: float,
        *,
        prompt_tokens: int | None = None,
        output_tokens: int | None = None,
        ttft_s: float | None = None,
        e2e_s: float | None = None,
    ) -> None:
        """The flight is over, however it ended. A second report of the same flight is ignored."""
        state = self._state(flight.deployment_id)
        if state.flights.pop(id(flight), None) is None:
            return
        if ending == "error":
            state.circuit = failed(state.circuit, now_s)
        elif ending == "success":
            state.circuit = succeeded(state.circuit, now_s)
            state.answered_at_s = now_s
        if ending in ("success", "disconnected") and prompt_tokens is not None:
            whole_s = e2e_s if ending == "success" else None
            observation = Observation(now_s, prompt_tokens, flight.in_flight, output_tokens, ttft_s, whole_s)
            state.evidence.add(observation, flight.curve)

    def export(self) -> dict[str, object]:
        """What this worker saw itself, as JSON values."""
        return {
            name: {
                "in_flight": len(state.flights) + state.foreign,
                "circuit": state.circuit._replace(probe_at_s=None),
                "evidence": state.evidence.to_json(),
            }
            for name, state in self.states.items()
        }

    def absorb(self, others: Iterable[Mapping[str, object]], priors: Mapping[str, Prior], now_s: float) -> None:
        """Takes in what the other workers published and the benchmark's priors, and works the curves out anew.

        Of the exports nothing is trusted: what cannot be true is left out.
        """
        heard: dict[str, list[Mapping[str, object]]] = {}
        for export in others:
            for name, said in list(export.items())[:MAX_DEPLOYMENTS]:
                if isinstance(said, Mapping):
                    heard.setdefault(name, []).append(said)
        for name in priors.keys() | self.states.keys():
            state = self._state(name)
            self._forget_lost(state, now_s)
            _suspect_hanging(state, now_s)
            said = heard.get(name, [])
            state.elsewhere = sum(_load(entry.get("in_flight")) for entry in said)
            for entry in said:
                state.circuit = latest(state.circuit, _circuit(entry.get("circuit")), now_s)
            evidence = [found for entry in said if (found := Evidence.from_json(entry.get("evidence"))) is not None]
            state.curve = fit(Evidence.merge([state.evidence, *evidence], now_s), priors.get(name), now_s)

    def forget(self, known: Iterable[str]) -> None:
        """Drops every deployment but those in `known`; flights on their way to the others end unheard."""
        kept = set(known)
        self.states = {name: state for name, state in self.states.items() if name in kept}

    def _state(self, deployment_id: str) -> LiveState:
        state = self.states.get(deployment_id)
        if state is None:
            state = self.states[deployment_id] = LiveState()
        return state

    @staticmethod
    def _forget_lost(state: LiveState, now_s: float) -> None:
        for key, flight in list(state.flights.items()):
            if abs(now_s - flight.at_s) > LEASE_S:
                del state.flights[key]


def _suspect_hanging(state: LiveState, now_s: float) -> None:
    """Counts a deployment as failed that takes requests and answers none: a hang is no event, and a timeout is late."""
    if state.circuit.is_open:
        return
    overdue = [f for f in state.flights.values() if now_s > f.due_s and f.at_s > state.answered_at_s]
    if len(overdue) >= OVERDUE_FLIGHTS:
        for _ in range(OVERDUE_FLIGHTS):
            state.circuit = failed(state.circuit, now_s)


def _load(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_LOAD else 0.0


def _circuit(value: object) -> Circuit:
    """Another worker's circuit, as JSON brought it; a closed one where it makes no sense."""
    match value:
        case [
            int() as failures,
            bool() as is_open,
            int() | float() as changed_at_s,
            int() | float() as pause_s,
            *_,
        ] if 0 <= changed_at_s <= MAX_UNIX_S and 0 <= pause_s <= HEARSAY * LONGEST_PAUSE_S:
            return Circuit(failures, is_open, float(changed_at_s), float(pause_s))
        case _:
            return CLOSED
