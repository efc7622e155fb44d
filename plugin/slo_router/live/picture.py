"""What one worker sees of its deployments while it serves: load, latencies, failures. No I/O, and no clock of its own.

    a pick    → dispatched() → Flight ─→ first_token(): its TTFT is learned
                                       └→ ended(): in-flight falls, the circuit hears of it
                                          └→ learn(): its TPOT is learned, a little later
    each second: export() → (Redis) → hear(the others' exports): everybody's load, circuits, what they saw of latencies
                 refit(): curves, of what changed

Each worker publishes only what it saw itself, as sums that can be added, so nobody reads, changes and writes back what
another wrote. The request path reads `states` and nothing else. What is done for every deployment is done step by step,
so that whoever runs it can let others go on in between.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec

from slo_router.contract.ages import Proof
from slo_router.latency.curve import Curve, Observation, slower
from slo_router.latency.evidence import Evidence, Prior, fit
from slo_router.live import account
from slo_router.live.account import TRUSTED, Account
from slo_router.live.circuit import (
    CLOSED,
    HEARSAY,
    LONGEST_PAUSE_S,
    SUSPECT_REQUESTS,
    Circuit,
    failed,
    is_probe_due,
    is_suspected,
    latest,
    probed,
    succeeded,
    suspected,
)

Ending = Literal["success", "error", "refused", "denied", "disconnected", "released"]
REFUSED = ("refused", "denied")  # the second in words that speak of the account
ALIKE = 0.7  # part of its own change of load that a worker takes each other to have seen too, since they last said
LEASE_S = 300.0  # a flight whose end nobody reported is forgotten after this
OVERDUE_FLIGHTS = 3  # of all workers unanswered, long past their time, and none answered since: it seems to hang
OVERDUE_FACTOR = 1.5  # times the time predicted at p95 …
OVERDUE_MARGIN_S = 0.5  # … plus this
LATE = 1.5  # times its time: later than the spread explains …
VERY_LATE = 3.0  # … and so late that one answer is enough to believe it
LAST_WORD_S = 2.5  # times the level: the slower it was, the longer the last word counts, unless a newer one comes
LONGEST_WORD_S = 60.0
MAX_PAUSES = 8
MOST_STILL = 0.1  # of a request's time that this process may have stood still for the rest to be a measurement
MAX_STALLS = 64
MOST_FLIGHTS = 10_000  # to one deployment, of one worker: the oldest are taken for lost
MAX_LOAD = 1e6
MAX_LEVEL = 15.0
MAX_UNIX_S = 1e12
FEW = 8  # other workers, whose evidence is heard each time; of many it takes so long to add up …
ADD_UP_S = 0.1  # … that it is heard every so many seconds for each of them, while their last words always are
AGED = 0.05  # of the latest evidence's age must pass before a curve fades enough to be worked out anew


ERRORS, ANSWERS = "errors", "answers"  # what a benchmark found against a deployment: it fails, or answers garbage
CHECK_S = 60.0  # between health checks of one that a benchmark found failing
MAX_COUNT = 1_000_000
Findings = Mapping[tuple[str, str], float]  # kind and category → when it was measured, Unix seconds

Health = Literal["answers", "fails", "refuses", "unclear"]  # what a health check found


class Flight(NamedTuple):
    """One attempt on its way. `in_flight` is the load it met, itself not counted."""

    deployment_id: str
    at_s: float
    in_flight: float
    curve: Curve | None
    expected_s: float | None  # to the first token, or to the end of an answer in one piece

    def is_overdue(self, now_s: float) -> bool:
        """Long past its time."""
        if self.expected_s is None:
            return False
        return now_s - self.at_s > OVERDUE_FACTOR * self.expected_s + OVERDUE_MARGIN_S

    def level(self, waited_s: float) -> float:
        """What the coefficients of the last minutes are to be multiplied by for it to take so long."""
        before = 1.0 if self.curve is None else self.curve.ttft_level
        return min(before * waited_s / self.expected_s, MAX_LEVEL) if self.expected_s else 0.0


class LastWord(NamedTuple):
    """The latest request with a first token: its dispatch, and the level that it showed; 0 where it was in time.

    Then the next request tries the deployment. `pauses` is how often one was very late again: each doubles the pause.
    """

    at_s: float = 0.0
    level: float = 0.0
    pauses: int = 0

    def level_at(self, now_s: float) -> float:
        """The same while it counts, then 0."""
        lasts_s = min(LAST_WORD_S * self.level * 2**self.pauses, LONGEST_WORD_S)
        return self.level if now_s - self.at_s < lasts_s else 0.0


NOTHING_SAID = LastWord()


class Landing(NamedTuple):
    """How a flight ended, at `at_s`. `is_ttft_known`: its first token was learned when it came."""

    flight: Flight
    ending: Ending
    at_s: float
    is_ttft_known: bool


class Said(TypedDict, total=False):
    """What a worker publishes of one deployment: no other field is read. Of another's nothing is trusted."""

    in_flight: Any
    answered_at_s: Any
    overdue: Any
    circuit: Any
    account: Any
    last_word: Any
    proofs: Any  # with `vouched_s`, where a benchmark found something against it
    vouched_s: Any
    evidence: msgspec.Raw  # left as it came: it is read where it changed


Export = Mapping[str, msgspec.Raw]  # by deployment id, JSON of `Said`
_said = msgspec.json.Decoder(Said)


@dataclass(slots=True)
class LiveState:
    """One deployment as this worker knows it now."""

    flights: dict[int, Flight] = field(default_factory=dict)  # by identity, oldest first
    begun: set[int] = field(default_factory=set)  # those of them whose first token was seen
    others: int = 0  # workers that say something of it
    own_then: int = 0  # flights of this worker when the others last said
    given_up: tuple[float, ...] = ()  # when flights left whose clients left them overdue; no more than count
    elsewhere: float = 0.0  # in flight at the other workers, when they last said, and what they know of foreign
    overdue_elsewhere: Sequence[float] = ()  # when the others' flights left that are overdue, see OVERDUE_FLIGHTS
    foreign: float = 0.0  # what the server itself reports beyond what this proxy sent; the elected worker's alone
    cache_usage: float | None = None  # of its KV cache, 0..1, as it reports it; the elected worker's alone
    fitted: Curve | None = None
    curve: Curve | None = None  # as fitted, or slower where requests wait for longer than that explains
    circuit: Circuit = CLOSED
    account: Account = TRUSTED
    evidence: Evidence = field(default_factory=Evidence)
    heard: Evidence = field(default_factory=Evidence)  # what all the others saw
    heard_marks: Sequence[object] = field(default_factory=list)  # tell whether one of them says something new
    heard_at_s: float = 0.0
    fit_of: object = None  # what `fitted` was made of …
    fit_at_s: float = 0.0  # … and when
    answered_at_s: float = 0.0
    begun_until_s: float = 0.0  # the latest dispatch whose first token was seen
    last_word: LastWord = NOTHING_SAID  # of all workers
    proofs: dict[tuple[str, str], Proof] = field(default_factory=dict)  # by finding, of this worker
    proofs_elsewhere: Mapping[tuple[str, str], Proof] = field(default_factory=dict)
    vouched_s: float = 0.0  # the last finding of errors after which a health check answered, or could not tell
    checked_at_s: float = 0.0

    @property
    def in_flight(self) -> float:
        """Requests on their way to this deployment, from all workers."""
        own = len(self.flights)
        if not self.others and not self.elsewhere:
            return own + self.foreign
        return own + self.foreign + max(0.0, self.elsewhere + ALIKE * self.others * (own - self.own_then))

    def lose(self, key: int) -> None:
        """The end of a flight will not be reported any more."""
        del self.flights[key]
        self.begun.discard(key)

    @property
    def failing_s(self) -> float:
        """When a benchmark last found it failing, 0 where none did that still counts."""
        return max([proof.since_s for (kind, _), proof in self.proofs.items() if kind == ERRORS], default=0.0)

    @property
    def is_vouched_for(self) -> bool:
        """Whether a request may try what a benchmark found failing: a health check was answered since."""
        return self.vouched_s >= self.failing_s

    def bad_share(self, kind: str, category: str, since_s: float) -> float | None:
        """The share of live requests (0..1) that bear out what a benchmark found at `since_s`, of all workers.

        `None` while they are too few, or it is not looked for.
        """
        proof = self.proofs.get((kind, category))
        if proof is None or proof.since_s != since_s:
            return None
        return proof.plus(self.proofs_elsewhere.get((kind, category))).bad_share

    def answered(self, at_s: float) -> None:
        """It gave a sign of life."""
        self.answered_at_s = max(self.answered_at_s, at_s)
        if is_suspected(self.circuit) and at_s > (self.circuit.changed_at_s or 0.0):
            self.circuit = succeeded(self.circuit, at_s)

    def hear(self, flight: Flight, ttft_s: float) -> None:
        """A first token came after `ttft_s`. Once one was very late, a late one confirms it and any other ends it."""
        level, usual = flight.level(ttft_s), 1.0 if self.fitted is None else self.fitted.ttft_level
        before = self.last_word
        counts = before.level_at(flight.at_s) > 0
        if level > (LATE if counts else VERY_LATE) * usual:
            pauses = before.pauses + (before.level > 0 and not counts)
            said = LastWord(flight.at_s, level, min(pauses, MAX_PAUSES))
        else:
            said = LastWord(flight.at_s)
        self.last_word = max(before, said)


class Live:
    """The worker's own state, by deployment id."""

    def __init__(self) -> None:
        self.states: dict[str, LiveState] = {}
        self.can_ask: Callable[[str], bool] = lambda _: False  # whether a deployment can be asked by a health check
        self._stalls: deque[tuple[float, float]] = deque(maxlen=MAX_STALLS)

    def in_flight(self, deployment_id: str) -> float:
        """Requests on their way to a deployment, from all workers."""
        state = self.states.get(deployment_id)
        return 0.0 if state is None else state.in_flight

    def in_flight_of_all(self, deployment_id: str) -> float:
        """The same without what is foreign: what this proxy's workers sent."""
        state = self._state(deployment_id)
        return state.in_flight - state.foreign

    def heard_of_foreign(self, deployment_id: str, requests: float, cache_usage: float | None = None) -> None:
        """The server reports `requests` more than this proxy's workers sent, and how full its KV cache is."""
        state = self._state(deployment_id)
        state.foreign, state.cache_usage = requests, cache_usage

    def dispatched(self, deployment_id: str, now_s: float, expected_s: float | None = None) -> Flight:
        """A request goes to a deployment. End it with `ended` or `finished`.

        `expected_s` is the predicted time to its first token, or to the end of an answer in one piece.
        """
        state = self._state(deployment_id)
        flight = Flight(deployment_id, now_s, state.in_flight, state.curve, expected_s)
        state.flights[id(flight)] = flight
        if len(state.flights) > MOST_FLIGHTS:
            state.lose(next(iter(state.flights)))
        if state.circuit.is_open:
            state.circuit = probed(state.circuit, now_s)
        state.account = account.sent(state.account, now_s)
        return flight

    def probes_due(self, now_s: float, leave_out: Collection[str] = ()) -> list[str]:
        """The deployments to ask now whether they answer again; tell `probe_ended` what they did."""
        due = [name for name, state in self.states.items() if _is_due(state, now_s) and name not in leave_out]
        for name in due:
            state = self.states[name]
            state.circuit = probed(state.circuit, now_s)
            state.checked_at_s = now_s
            if account.is_doubted(state.account):
                state.account = account.asked(state.account, now_s)
        return due

    def probe_ended(self, deployment_id: str, sent_at_s: float, now_s: float, health: Health) -> None:
        """What a probe found that went out at `sent_at_s`. It has no part in load and curves."""
        state = self.states.get(deployment_id)
        if state is None:
            return
        if health == "answers":
            state.circuit = succeeded(state.circuit, now_s)
            state.account = account.answered(state.account, now_s)
            state.answered(now_s)
            state.begun_until_s = max(state.begun_until_s, sent_at_s)
            state.vouched_s = state.failing_s
            return
        if account.is_doubted(state.account):  # nobody could ask: only words that speak of the account count
            is_doubtful = health != "refuses" and not state.account.is_account
            state.account = (account.answered if is_doubtful else account.denied)(state.account, now_s)
        if health == "unclear":  # a request finds out
            state.vouched_s = state.failing_s
        if health == "fails":
            state.circuit = failed(state.circuit, now_s, sent_at_s)
        else:  # the check itself may be what is refused
            state.circuit = state.circuit._replace(probe_at_s=None)

    def is_under_way(self, flight: Flight) -> bool:
        """Whether its end was not reported yet and its lease holds."""
        state = self.states.get(flight.deployment_id)
        return state is not None and id(flight) in state.flights

    def stalled(self, from_s: float, to_s: float) -> None:
        """This process itself stood still: what it measured meanwhile says nothing about a deployment."""
        self._stalls.append((from_s, to_s))

    def first_token(self, flight: Flight, at_s: float, *, prompt_tokens: int | None, ttft_s: float) -> None:
        """The flight's first token came at `at_s`, Unix seconds. A second report of it is ignored.

        Where `prompt_tokens` is `None` nothing is learned but that it came.
        """
        state, key = self.states.get(flight.deployment_id), id(flight)
        if state is None or key not in state.flights or key in state.begun:
            return
        state.begun.add(key)
        state.answered(at_s)
        state.begun_until_s = max(state.begun_until_s, flight.at_s)
        if prompt_tokens is not None and not self._is_disturbed(flight.at_s, at_s):
            observation = Observation(at_s, prompt_tokens, flight.in_flight, None, ttft_s, None)
            state.evidence.add(observation, flight.curve)
            state.hear(flight, ttft_s)

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
        """The flight is over, and this is what it showed. A second report of the same flight is ignored."""
        landing = self.ended(flight, ending, now_s)
        if landing is not None:
            self.learn(landing, prompt_tokens=prompt_tokens, output_tokens=output_tokens, ttft_s=ttft_s, e2e_s=e2e_s)

    def ended(self, flight: Flight, ending: Ending, now_s: float) -> Landing | None:
        """The flight is over, however it ended. A second report of the same flight is ignored: `None`."""
        state = self.states.get(flight.deployment_id)
        if state is None or state.flights.pop(id(flight), None) is None:
            return None
        is_ttft_known = id(flight) in state.begun
        state.begun.discard(id(flight))
        if ending == "disconnected" and not is_ttft_known:
            self._gave_up(state, flight, now_s)
        elif ending == "error":
            state.circuit = failed(state.circuit, now_s, flight.at_s)
        elif ending == "success":
            state.circuit = succeeded(state.circuit, now_s)
            state.account = account.answered(state.account, now_s)
            state.answered(now_s)
            state.begun_until_s = max(state.begun_until_s, flight.at_s)
        elif ending in REFUSED:
            is_account, can_ask = ending == "denied", self.can_ask(flight.deployment_id)
            state.account = account.refused(state.account, now_s, flight.at_s, is_account=is_account, can_ask=can_ask)
            state.answered(now_s)
        return Landing(flight, ending, now_s, is_ttft_known)

    def _gave_up(self, state: LiveState, flight: Flight, now_s: float) -> None:
        """A client left before anything came. If it was late that says as much as if the client still waited."""
        if self._is_disturbed(flight.at_s, now_s):
            return
        if flight.is_overdue(now_s):
            state.given_up = (*state.given_up, flight.at_s)[-OVERDUE_FLIGHTS:]
        if state.fitted is not None and flight.level(now_s - flight.at_s) > VERY_LATE * state.fitted.ttft_level:
            state.hear(flight, now_s - flight.at_s)

    def learn(
        self,
        landing: Landing,
        *,
        prompt_tokens: int | None,
        output_tokens: int | None,
        ttft_s: float | None,
        e2e_s: float | None,
    ) -> None:
        """What an ended flight showed. Curves are worked out of it once a second, so this may wait."""
        flight, ending, at_s, is_ttft_known = landing
        if prompt_tokens is None or ending not in ("success", "disconnected"):
            return
        if not self._is_disturbed(flight.at_s, at_s):
            whole_s = e2e_s if ending == "success" else None
            observation = Observation(at_s, prompt_tokens, flight.in_flight, output_tokens, ttft_s, whole_s)
            state = self.states.get(flight.deployment_id)
            if state is None:  # it was taken away meanwhile
                return
            state.evidence.add(observation, flight.curve, is_ttft_known=is_ttft_known)
            if ttft_s is not None and not is_ttft_known:
                state.hear(flight, ttft_s)

    def find(self, deployment_id: str, findings: Findings) -> None:
        """Takes what a benchmark found against a deployment, and forgets what it finds no more, or anew."""
        state = self._state(deployment_id)
        if findings or state.proofs:
            known, before_s = state.proofs, state.failing_s
            state.proofs = {
                key: known[key] if key in known and known[key].since_s == since_s else Proof(since_s)
                for key, since_s in findings.items()
            }
            if state.failing_s > before_s:
                state.checked_at_s = 0.0
            if not self.can_ask(deployment_id):  # a request finds out
                state.vouched_s = state.failing_s

    def prove(self, deployment_id: str, kind: str, category: str, *, is_good: bool) -> None:
        """A live request bears out what a benchmark found, or speaks against it."""
        state = self._state(deployment_id)
        proof = state.proofs.get((kind, category))
        if proof is not None:
            more = Proof(proof.since_s, int(is_good), int(not is_good))
            state.proofs[kind, category] = proof.plus(more)
            if is_good and kind == ERRORS:
                state.vouched_s = state.failing_s

    def _suspect(self, state: LiveState, now_s: float) -> None:
        overdue = self._overdue(state, now_s) if state.flights or state.given_up else ()
        if is_suspected(state.circuit):
            if sum(at_s > (state.circuit.changed_at_s or 0.0) for at_s in overdue) >= SUSPECT_REQUESTS:
                state.circuit = failed(state.circuit, now_s)
        elif overdue and not state.circuit.is_open:
            elsewhere = sum(at_s > state.answered_at_s for at_s in state.overdue_elsewhere)
            if len(overdue) + elsewhere >= OVERDUE_FLIGHTS:
                state.circuit = suspected(state.circuit, now_s)

    def _slow_down(self, state: LiveState, now_s: float) -> None:
        """A request that waits longer than expected, or did when last seen, tells that the deployment is slower.

        At a request a second the fit needs some of them for that, and each would be late.
        """
        if state.fitted is None:
            return
        level = state.last_word.level_at(now_s)
        for key, flight in state.flights.items():
            if key not in state.begun and flight.at_s > state.begun_until_s:
                waits = not self._is_disturbed(flight.at_s, now_s)
                level = max(level, flight.level(now_s - flight.at_s) if waits else 0.0)
        factor = level / state.fitted.ttft_level
        state.curve = slower(state.fitted, factor) if factor > LATE else state.fitted

    def _overdue(self, state: LiveState, now_s: float) -> list[float]:
        """When those left that are, or were given up, long past their time, none having been answered since."""
        left = [at_s for at_s in state.given_up if at_s > state.answered_at_s and now_s - at_s < LEASE_S]
        return left + [
            flight.at_s
            for key, flight in state.flights.items()
            if flight.is_overdue(now_s)
            and flight.at_s > state.answered_at_s
            and key not in state.begun
            and not self._is_disturbed(flight.at_s, now_s)
        ]

    def _is_disturbed(self, from_s: float, to_s: float) -> bool:
        still_s = 0.0
        for start_s, end_s in reversed(self._stalls):
            if end_s <= from_s:  # nor do those before it matter
                break
            still_s += max(0.0, min(to_s, end_s) - max(from_s, start_s))
        return still_s > MOST_STILL * (to_s - from_s)

    def export(self, now_s: float) -> Iterator[tuple[str, msgspec.Raw]]:
        """What this worker saw itself, deployment by deployment. What did not change is not written anew."""
        for name, state in list(self.states.items()):
            yield name, msgspec.Raw(msgspec.json.encode(self._said(state, now_s)))

    def _said(self, state: LiveState, now_s: float) -> Said:
        said: Said = {
            "in_flight": len(state.flights) + state.foreign,
            "answered_at_s": state.answered_at_s,
            "overdue": self._overdue(state, now_s)[-OVERDUE_FLIGHTS:],
            "circuit": state.circuit,
            "account": state.account,
            "last_word": state.last_word,
            "evidence": state.evidence.to_raw(),
        }
        if state.proofs:
            said["proofs"] = [[*key, *proof] for key, proof in state.proofs.items()]
            said["vouched_s"] = state.vouched_s
        return said

    def absorb(self, others: Iterable[Export], priors: Mapping[str, Prior], now_s: float) -> None:
        """Hears the others and works the curves out anew, all at once."""
        for _ in chain(self.hear(others, priors, now_s), self.refit(priors, now_s)):
            pass

    def hear(self, others: Iterable[Export], known: Iterable[str], now_s: float) -> Generator[None, None, None]:
        """Takes in what the other workers published, of the deployments in `known` and those that it knows.

        Of the exports nothing is trusted: what cannot be true is left out.
        """
        for name in known:
            self._state(name)
        others = list(others)
        for name, state in list(self.states.items()):
            told = [export[name] for export in others if name in export]
            entries = [said for text in told if (said := _read(text)) is not None]
            state.overdue_elsewhere = [at_s for entry in entries for at_s in _times(entry.get("overdue"))]
            state.own_then, state.others = len(state.flights), len(entries)
            state.elsewhere = sum(_load(entry.get("in_flight")) for entry in entries)
            for entry in entries:
                state.circuit = latest(state.circuit, _circuit(entry.get("circuit")), now_s)
                state.account = account.latest(state.account, _account(entry.get("account")), now_s)
                state.last_word = max(state.last_word, _last_word(entry.get("last_word"), now_s))
                state.answered(_moment(entry.get("answered_at_s"), now_s))
            if state.proofs:
                state.proofs_elsewhere = _proofs(entry.get("proofs") for entry in entries)
                state.vouched_s = max([state.vouched_s, *(_moment(entry.get("vouched_s"), now_s) for entry in entries)])
            if not state.circuit.is_open and state.circuit.changed_at_s is not None:  # somebody had an answer then
                state.answered(state.circuit.changed_at_s)
            seen = [entry["evidence"] for entry in entries if "evidence" in entry]
            yield from self._hear_evidence(state, seen, now_s)
            yield

    @staticmethod
    def _hear_evidence(state: LiveState, told: Sequence[msgspec.Raw], now_s: float) -> Generator[None, None, None]:
        """Adds up what the others saw, if one of them saw something new."""
        if len(told) > FEW and abs(now_s - state.heard_at_s) < ADD_UP_S * len(told):
            return
        marks = [hash(bytes(text)) for text in told]
        if marks == state.heard_marks:
            return
        heard = Evidence()
        for text in told:
            found = Evidence.from_raw(text)
            if found is not None:
                heard.include(found, now_s)
            del found  # else the next one's memory is looked through for garbage together with this one's
            yield
        state.heard, state.heard_marks, state.heard_at_s = heard, marks, now_s

    def refit(self, priors: Mapping[str, Prior], now_s: float) -> Generator[None, None, None]:
        """Works out the curves of those of which something was learned, or whose evidence aged; a step for each."""
        for name in priors.keys() | self.states.keys():
            state, prior = self._state(name), priors.get(name)
            self._forget_lost(state, now_s)
            self._suspect(state, now_s)
            made_of = (state.evidence.changes, state.heard_marks, prior)
            if made_of != state.fit_of or _has_aged(state, now_s):
                state.fitted = fit(Evidence.merge([state.evidence, state.heard], now_s), prior, now_s)
                state.fit_of, state.fit_at_s = made_of, now_s
            state.curve = state.fitted
            self._slow_down(state, now_s)
            yield

    def watch(self, now_s: float) -> None:
        """Looks at those that let requests wait, some times a second: of a hang or slowdown no event tells in time."""
        for state in self.states.values():
            self._suspect(state, now_s)
            self._slow_down(state, now_s)

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
                state.lose(key)


def _read(text: msgspec.Raw) -> Said | None:
    """What another worker says of a deployment; `None` where it is no object."""
    try:
        return _said.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _has_aged(state: LiveState, now_s: float) -> bool:
    """Whether the evidence faded since the last fit as much as makes a difference."""
    newest_s = max(state.evidence.at_s or 0.0, state.heard.at_s or 0.0)
    return newest_s > 0 and abs(now_s - state.fit_at_s) >= AGED * abs(now_s - newest_s)


def _load(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_LOAD else 0.0


def _moment(value: object, now_s: float) -> float:
    """Unix seconds, as JSON brought them: now at the latest, 0 where they make no sense."""
    return min(float(value), now_s) if isinstance(value, int | float) and 0 <= value <= MAX_UNIX_S else 0.0


def _times(value: object) -> list[float]:
    """Unix seconds, as JSON brought them; no more than count."""
    times = value[-OVERDUE_FLIGHTS:] if isinstance(value, list) else []
    return [float(at_s) for at_s in times if isinstance(at_s, int | float) and 0 <= at_s <= MAX_UNIX_S]


def _last_word(value: object, now_s: float) -> LastWord:
    """Another worker's, as JSON brought it; none where it makes no sense or lies in the future."""
    match value:
        case [int() | float() as at_s, int() | float() as level, int(pauses)] if (
            0 <= at_s <= now_s and 0 <= level <= MAX_LEVEL and 0 <= pauses <= MAX_PAUSES
        ):
            return LastWord(float(at_s), float(level), int(pauses))
        case _:
            return NOTHING_SAID


def _is_due(state: LiveState, now_s: float) -> bool:
    if is_probe_due(state.circuit, now_s) or account.is_question_due(state.account, now_s):
        return True
    return bool(state.proofs) and not state.is_vouched_for and abs(now_s - state.checked_at_s) >= CHECK_S


def _proofs(said: Iterable[object]) -> dict[tuple[str, str], Proof]:
    """What the other workers' requests showed, as JSON brought it, together; what makes no sense is left out."""
    found: dict[tuple[str, str], Proof] = {}
    for entry in itertools.chain.from_iterable(one for one in said if isinstance(one, list)):
        match entry:
            case [str(kind), str(category), int() | float() as since_s, int(good), int(bad)] if (
                0 <= since_s <= MAX_UNIX_S and 0 <= good <= MAX_COUNT and 0 <= bad <= MAX_COUNT
            ):
                told = Proof(float(since_s), good, bad)
                before = found.get((kind, category))
                found[kind, category] = told if before is None or before.since_s < told.since_s else before.plus(told)
    return found


def _account(value: object) -> Account:
    """What another worker says of an account, as JSON brought it; trusted where it makes no sense."""
    match value:
        case [
            int() as refusals,
            bool() as is_account,
            bool() as is_shut,
            int() | float() as changed_at_s,
            int() | float() as pause_s,
            None | int() | float() as asked_at_s,
        ] if 0 <= changed_at_s <= MAX_UNIX_S and 0 <= pause_s <= account.LONGEST_PAUSE_S and refusals >= 0:
            return Account(refusals, is_account, is_shut, float(changed_at_s), float(pause_s), asked_at_s)
        case _:
            return TRUSTED


def _circuit(value: object) -> Circuit:
    """Another worker's circuit, as JSON brought it; a closed one where it makes no sense."""
    match value:
        case [
            int() as failures,
            bool() as is_open,
            int() | float() as changed_at_s,
            int() | float() as pause_s,
            None | int() | float() as probe_at_s,
        ] if 0 <= changed_at_s <= MAX_UNIX_S and 0 <= pause_s <= HEARSAY * LONGEST_PAUSE_S:
            return Circuit(failures, is_open, float(changed_at_s), float(pause_s), probe_at_s)
        case _:
            return CLOSED
