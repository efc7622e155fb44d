"""What one worker sees of its deployments while it serves: load, latencies, failures. No I/O, and no clock of its own.

    a pick    → dispatched() → Flight ─→ first_token(): its TTFT is learned
                                       └→ ended(): in-flight falls, the circuit hears of it
                                          └→ learn(): its TPOT is learned, a little later
    each second: refit(): curves, from what this worker and the others saw (`picture`)

The request path reads `states` and nothing else. Work over all deployments yields after each one, so that the job that
runs it can let other tasks go on in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping

from slo_router.contract.ages import Proof
from slo_router.contract.model import Limits
from slo_router.latency.evidence import Evidence, Prior, fit
from slo_router.live import account, quota, scarcity
from slo_router.live.circuit import failed, probed, succeeded
from slo_router.live.lateness import gave_up, held_up_s, is_disturbed, no_stalls, slow_down, suspect, waited, was_silent
from slo_router.live.ratelimit import TOKENS, Report
from slo_router.live.state import ERRORS, LEASE_S, Ending, Findings, Flight, Landing, LiveState

GIVEN_UP, FAILED = ("disconnected", "silent"), ("error", "silent")
REFUSED = ("refused", "denied")  # "denied": in words that speak of the account
MOST_FLIGHTS = 10_000  # of one worker, to one deployment; beyond that the oldest counts as lost
AGED = 0.05  # a curve is fitted again when this part of its latest evidence's age has passed since the last fit


class Live:
    """The worker's own state, by deployment id."""

    def __init__(self) -> None:
        self.states: dict[str, LiveState] = {}
        self.can_ask: Callable[[str], bool] = lambda _: False  # whether a health check can ask a deployment
        self.ask_soon: Callable[[], None] = lambda: None  # a deployment is to be asked before the next look
        self.tell_soon: Callable[[], None] = lambda: None  # the other workers are to hear news before the next exchange
        self.stalls = no_stalls()

    def in_flight(self, deployment_id: str) -> float:
        """Requests on their way to a deployment, from all workers."""
        state = self.states.get(deployment_id)
        return 0.0 if state is None else state.in_flight

    def heard_of_foreign(self, deployment_id: str, requests: float, cache_usage: float | None = None) -> None:
        """The server reports `requests` more than this proxy's workers sent, and how full its KV cache is."""
        state = self.state(deployment_id)
        state.foreign, state.cache_usage = requests, cache_usage

    def dispatched(
        self,
        deployment_id: str,
        now_s: float,
        expected_s: float | None = None,
        tokens: float = 0.0,
        hidden_tokens: float = 0.0,
    ) -> Flight:
        """A request goes to a deployment. End it with `ended` or `finished`.

        `expected_s` is the predicted time to its first token, or to the end of an unstreamed answer. `tokens` is the
        expected number of tokens, prompt and answer; the client does not see `hidden_tokens` of the answer.
        """
        state = self.state(deployment_id)
        flight = Flight(deployment_id, now_s, state.in_flight, state.curve, expected_s, tokens, hidden_tokens)
        if state.quota is not None:
            quota.spend(state.quota, now_s, tokens)
        state.flights[id(flight)] = flight
        if len(state.flights) > MOST_FLIGHTS:
            state.lose(next(iter(state.flights)))
        if state.circuit.is_open:
            state.circuit = probed(state.circuit, now_s)
        state.account = account.sent(state.account, now_s)
        return flight

    def is_under_way(self, flight: Flight) -> bool:
        """Whether the flight's end was not reported yet and its lease holds."""
        state = self.states.get(flight.deployment_id)
        return state is not None and id(flight) in state.flights

    def turned_away(self, deployment_id: str, load: float, now_s: float) -> None:
        """The deployment turned a request away at this load, or soon would; see `decision.scarcity`."""
        state = self.state(deployment_id)
        state.scarcity = scarcity.turned_away(state.scarcity, load, now_s)
        state.price(now_s)

    def would_leave(self, deployment_id: str, usd_per_s: float, stay_s: float, now_s: float) -> None:
        """A request would leave the deployment at this price. It would have stayed for `stay_s`."""
        state = self.state(deployment_id)
        state.scarcity = scarcity.would_leave(state.scarcity, usd_per_s, stay_s, now_s)
        state.price(now_s)

    def stalled(self, from_s: float, to_s: float) -> None:
        """This process itself stood still: what it measured meanwhile says nothing about a deployment."""
        self.stalls.append((from_s, to_s))

    def held_up_s(self, flight: Flight, now_s: float) -> float:
        """How many seconds of a flight's wait for its first token are due to this process's own stalls."""
        return held_up_s(self.stalls, flight.at_s, now_s)

    def first_token(self, flight: Flight, at_s: float, *, prompt_tokens: int | None, ttft_s: float) -> None:
        """The flight's first token came at `at_s`, Unix seconds. A second report of it is ignored.

        If `prompt_tokens` is `None`, nothing is learned of its latency.
        """
        state, key = self.states.get(flight.deployment_id), id(flight)
        if state is None or key not in state.flights or key in state.begun:
            return
        state.begun.add(key)
        state.answered(at_s)
        state.begun_until_s = max(state.begun_until_s, flight.at_s)
        if prompt_tokens is not None and not is_disturbed(self.stalls, flight.at_s, at_s):
            state.evidence.add(flight.observed(at_s, prompt_tokens, None, ttft_s, None), flight.curve)
            waited(state, flight, ttft_s)

    def finished(
        self,
        flight: Flight,
        ending: Ending,
        now_s: float,
        *,
        prompt_tokens: int | None = None,
        output_tokens: float | None = None,
        ttft_s: float | None = None,
        e2e_s: float | None = None,
    ) -> None:
        """The flight is over, and this is what it showed. A second report of the same flight is ignored."""
        landing = self.ended(flight, ending, now_s)
        if landing is not None:
            self.learn(landing, prompt_tokens=prompt_tokens, output_tokens=output_tokens, ttft_s=ttft_s, e2e_s=e2e_s)

    def unsent(self, flight: Flight) -> None:
        """A flight was never sent: what it took of the quota is given back."""
        state = self.states.get(flight.deployment_id)
        if state is not None and state.quota is not None:
            quota.give_back(state.quota, flight.at_s, 1.0, flight.tokens)

    def reported(self, flight: Flight, report: Report) -> None:
        """The answer to a flight says what is left of a provider's limit."""
        state = self.states.get(flight.deployment_id)
        if state is None:
            return
        since = [one for one in state.flights.values() if one.at_s > flight.at_s]
        under_way = sum(one.tokens for one in since) if report.kind == TOKENS else float(len(since))
        state.quota = state.quota or quota.Quota()
        quota.reported(state.quota, report, flight.at_s, under_way)

    def ended(self, flight: Flight, ending: Ending, now_s: float, wait_s: float | None = None) -> Landing | None:
        """The flight is over, whatever its ending. A second report of the same flight is ignored and returns `None`.

        With the ending `full`, `wait_s` is how long the deployment says it stays full; `None`: it does not say.
        """
        state = self.states.get(flight.deployment_id)
        if state is None or state.flights.pop(id(flight), None) is None:
            return None
        is_ttft_known = id(flight) in state.begun
        state.begun.discard(id(flight))
        if ending in GIVEN_UP and not is_ttft_known:
            gave_up(state, self.stalls, flight, now_s)
        if ending in FAILED:
            self._failed(state, flight, now_s, is_silent=ending == "silent")
        elif ending == "success":
            state.circuit = succeeded(state.circuit, now_s)
            state.account = account.answered(state.account, now_s)
            state.answered(now_s)
            state.begun_until_s = max(state.begun_until_s, flight.at_s)
            if state.quota is not None:
                quota.answered(state.quota)
        elif ending == "full":
            self._refused_for_quota(state, flight, now_s, wait_s)
            self.tell_soon()
        elif ending in REFUSED:
            is_account, can_ask = ending == "denied", self.can_ask(flight.deployment_id)
            state.account = account.refused(state.account, now_s, flight.at_s, is_account=is_account, can_ask=can_ask)
            state.answered(now_s)
            if can_ask and account.is_question_due(state.account, now_s):
                if state.account.is_shut:
                    state.doubt_all_of_account(self.states)
                self.ask_soon()
        return Landing(flight, ending, now_s, is_ttft_known)

    def learn(
        self,
        landing: Landing,
        *,
        prompt_tokens: int | None,
        output_tokens: float | None,
        ttft_s: float | None,
        e2e_s: float | None,
        billed_tokens: int | None = None,
    ) -> None:
        """Learns from an ended flight. Curves are fitted once a second, so this may be called later.

        `output_tokens` is as in `Observation`. `billed_tokens` counts all tokens written; by default `output_tokens`.
        """
        flight, ending, at_s, is_ttft_known = landing
        state = self.states.get(flight.deployment_id)  # `None`: it was taken away meanwhile
        if prompt_tokens is None or state is None or ending not in ("success", "disconnected"):
            return
        if not is_disturbed(self.stalls, flight.at_s, at_s):
            whole_s = e2e_s if ending == "success" else None
            observation = flight.observed(at_s, prompt_tokens, output_tokens, ttft_s, whole_s)
            if state.quota is not None and flight.tokens:
                used = prompt_tokens + (billed_tokens or output_tokens or 0)
                quota.give_back(state.quota, flight.at_s, 0.0, flight.tokens - used)
            state.evidence.add(observation, flight.curve, is_ttft_known=is_ttft_known)
            if ttft_s is not None and not is_ttft_known:
                waited(state, flight, ttft_s)

    def find(self, deployment_id: str, findings: Findings) -> None:
        """Takes a benchmark's findings. Proofs of a finding that is gone, or that was made anew, are forgotten."""
        state = self.state(deployment_id)
        if findings or state.proofs:
            known, before_s = state.proofs, state.failing_s
            state.proofs = {
                key: known[key] if key in known and known[key].since_s == since_s else Proof(since_s)
                for key, since_s in findings.items()
            }
            if state.failing_s > before_s:
                state.checked_at_s = 0.0
            if not self.can_ask(deployment_id):  # then requests may try it
                state.vouched_s = state.failing_s

    def prove(self, deployment_id: str, kind: str, category: str, *, is_good: bool) -> None:
        """A live request contradicts what a benchmark found (`is_good`), or confirms it."""
        state = self.state(deployment_id)
        proof = state.proofs.get((kind, category))
        if proof is not None:
            more = Proof(proof.since_s, int(is_good), int(not is_good))
            state.proofs[kind, category] = proof.plus(more)
            if is_good and kind == ERRORS:
                state.vouched_s = state.failing_s

    def refit(self, priors: Mapping[str, Prior], now_s: float) -> Generator[None, None, None]:
        """Fits the curve of each deployment whose evidence is new or has aged. Yields after each deployment."""
        for name in priors.keys() | self.states.keys():
            state, prior = self.state(name), priors.get(name)
            self._forget_lost(state, now_s)
            suspect(state, self.stalls, now_s)
            made_of = (state.evidence.changes, state.heard_marks, prior)
            if made_of != state.fit_of or _has_aged(state, now_s):
                state.fitted = fit(Evidence.merge([state.evidence, state.heard], now_s), prior, now_s)
                state.fit_of, state.fit_at_s = made_of, now_s
            state.curve = state.fitted
            slow_down(state, self.stalls, now_s)
            yield

    def watch(self, now_s: float) -> None:
        """Looks for hangs and slowdowns, some times a second: no event tells of them in time."""
        for state in self.states.values():
            suspect(state, self.stalls, now_s)
            slow_down(state, self.stalls, now_s)
            state.price(now_s)

    def allow(self, deployment_id: str, limits: Limits, same_account: frozenset[str] = frozenset()) -> None:
        """Takes the limits that the configuration sets for a deployment, and the deployments that share its key."""
        state = self.state(deployment_id)
        state.same_account = same_account
        state.quota = quota.of_limits(state.quota, limits)

    def forget(self, known: Iterable[str]) -> None:
        """Drops every deployment that is not in `known`. The ends of its flights are then ignored."""
        kept = set(known)
        self.states = {name: state for name, state in self.states.items() if name in kept}

    def state(self, deployment_id: str) -> LiveState:
        """A deployment's state. A new deployment gets one."""
        state = self.states.get(deployment_id)
        if state is None:
            state = self.states[deployment_id] = LiveState()
        return state

    def _failed(self, state: LiveState, flight: Flight, now_s: float, *, is_silent: bool) -> None:
        state.circuit = failed(state.circuit, now_s, flight.at_s)
        if is_silent:
            was_silent(state, flight, now_s)
            if state.circuit.is_open:
                self.ask_soon()
                self.tell_soon()

    @staticmethod
    def _refused_for_quota(state: LiveState, flight: Flight, now_s: float, wait_s: float | None) -> None:
        state.answered(now_s)
        state.quota = state.quota or quota.Quota()
        quota.give_back(state.quota, flight.at_s, 1.0, flight.tokens)
        quota.refused(state.quota, now_s, flight.at_s, wait_s)

    @staticmethod
    def _forget_lost(state: LiveState, now_s: float) -> None:
        for key, flight in list(state.flights.items()):
            if abs(now_s - flight.at_s) > LEASE_S:
                state.lose(key)


def _has_aged(state: LiveState, now_s: float) -> bool:
    """Whether the evidence has faded so much since the last fit that a new fit would differ."""
    newest_s = max(state.evidence.at_s or 0.0, state.heard.at_s or 0.0)
    return newest_s > 0 and abs(now_s - state.fit_at_s) >= AGED * abs(now_s - newest_s)
