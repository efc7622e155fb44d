"""One deployment as this worker knows it: what is on its way there, how fast it was, whether it works. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from slo_router.contract.ages import Proof
from slo_router.latency.curve import Curve, Observation
from slo_router.latency.evidence import Evidence
from slo_router.live.account import TRUSTED, Account, suspected
from slo_router.live.circuit import CLOSED, Circuit, is_suspected, succeeded
from slo_router.live.quota import Quota
from slo_router.live.scarcity import PLENTY, Scarcity, Tariff, is_over, tariff
from slo_router.live.sizes import ANY_SIZE, Sizes

Ending = Literal["success", "error", "silent", "refused", "denied", "full", "disconnected", "released"]
ALIKE = 0.7  # a worker assumes that each other worker's load changed, since it reported, by this part of its own change
LEASE_S = 300.0  # a flight whose end nobody reported is forgotten after this
OVERDUE_FACTOR = 1.5  # times the time predicted at p95 …
OVERDUE_MARGIN_S = 0.5  # … plus this
LAST_WORD_S = 2.5  # times the level: the slower it was, the longer the last word counts, unless a newer one comes
LONGEST_WORD_S = 60.0
QUEUE = 4  # requests in flight; fewer make no queue
DRAINED = 0.7  # part of the load at dispatch; with less the queue is gone
MAX_LEVEL = 15.0

ERRORS, ANSWERS = "errors", "answers"  # what a benchmark found against a deployment: it fails, or answers garbage
Findings = Mapping[tuple[str, str], float]  # kind and category → when it was measured, Unix seconds


class Flight(NamedTuple):
    """One attempt on its way. `in_flight` is the load it met, itself not counted."""

    deployment_id: str
    at_s: float
    in_flight: float
    curve: Curve | None
    expected_s: float | None  # to the first token, or to the end of an answer in one piece
    tokens: float = 0.0  # expected, prompt and answer
    hidden_tokens: float = 0.0  # expected, of the answer: the client does not see them

    def observed(
        self, at_s: float, prompt_tokens: int, output_tokens: float | None, ttft_s: float | None, e2e_s: float | None
    ) -> Observation:
        """What was measured of this attempt. It ended at `at_s`."""
        return Observation(at_s, prompt_tokens, self.in_flight, output_tokens, ttft_s, e2e_s, self.hidden_tokens)

    def is_overdue(self, now_s: float) -> bool:
        """Long past its time."""
        if self.expected_s is None:
            return False
        return now_s - self.at_s > OVERDUE_FACTOR * self.expected_s + OVERDUE_MARGIN_S

    def level(self, waited_s: float) -> float:
        """The factor on the last minutes' coefficients at which it takes `waited_s`; 0 where no time was expected."""
        before = 1.0 if self.curve is None else self.curve.ttft_level
        return min(before * waited_s / self.expected_s, MAX_LEVEL) if self.expected_s else 0.0


class LastWord(NamedTuple):
    """The latest request with a first token: its dispatch, and the level that it showed; 0 where it was in time.

    The level counts for a time (`level_at`). Then the next request tries the deployment. `pauses` is how often such a
    request was very late again: each doubles that time. `load` is the number in flight at dispatch: with many, the
    request may have waited in a queue. `base_s` is the time that the level multiplies, for a usual prompt: as the fit
    learns the slowness, the level says less.
    """

    at_s: float = 0.0
    level: float = 0.0
    pauses: int = 0
    load: float = 0.0
    base_s: float = 0.0

    def level_at(self, now_s: float) -> float:
        """The level while it counts, then 0."""
        lasts_s = min(LAST_WORD_S * self.level * 2**self.pauses, LONGEST_WORD_S)
        return self.level if now_s - self.at_s < lasts_s else 0.0

    def is_drained(self, in_flight: float) -> bool:
        """Whether the queue that the request may have waited in is gone. Then its wait says nothing of new requests."""
        return self.load >= QUEUE and in_flight < DRAINED * self.load


NOTHING_SAID = LastWord()


class Landing(NamedTuple):
    """How a flight ended, at `at_s`. `is_ttft_known`: its first token was learned when it came."""

    flight: Flight
    ending: Ending
    at_s: float
    is_ttft_known: bool


@dataclass(slots=True)
class LiveState:
    """One deployment as this worker knows it now."""

    flights: dict[int, Flight] = field(default_factory=dict)  # by identity, oldest first
    begun: set[int] = field(default_factory=set)  # keys of the flights whose first token was seen
    others: int = 0  # other workers that reported on it
    own_then: int = 0  # flights of this worker when the others last reported
    given_up: tuple[float, ...] = ()  # dispatch times of overdue flights that were given up; the last ones
    elsewhere: float = 0.0  # in flight from the other workers, as they last reported, including foreign ones
    overdue_elsewhere: Sequence[float] = ()  # dispatch times of the other workers' overdue flights
    foreign: float = 0.0  # requests that the server reports beyond this proxy's; only at the elected worker
    cache_usage: float | None = None  # used part of its KV cache, 0..1; only at the elected worker
    fitted: Curve | None = None
    curve: Curve | None = None  # as fitted, or slower where requests wait longer than the fit explains
    circuit: Circuit = CLOSED
    account: Account = TRUSTED
    same_account: frozenset[str] = frozenset()  # deployments with the same key at the same address
    quota: Quota | None = None  # `None`: no limit is known
    sizes: Sizes = ANY_SIZE  # as this worker knows them
    evidence: Evidence = field(default_factory=Evidence)
    heard: Evidence = field(default_factory=Evidence)  # what all other workers saw
    heard_marks: Sequence[object] = field(default_factory=list)  # hashes of what they said: a change is news
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
    scarcity: Scarcity = PLENTY  # as this worker saw it
    scarcity_elsewhere: Sequence[Scarcity] = ()  # as each other worker saw it
    tariff: Tariff | None = None  # from all of these

    @property
    def in_flight(self) -> float:
        """Requests on their way to this deployment, from all workers."""
        own = len(self.flights)
        if not self.others and not self.elsewhere:
            return own + self.foreign
        return own + self.foreign + max(0.0, self.elsewhere + ALIKE * self.others * (own - self.own_then))

    @property
    def in_flight_by_proxy(self) -> float:
        """Requests in flight that this proxy's workers sent, without those of other clients."""
        return self.in_flight - self.foreign

    @property
    def is_scarce(self) -> bool:
        """Whether a request was turned away here lately."""
        return self.scarcity is not PLENTY or bool(self.scarcity_elsewhere)

    @property
    def shadow_usd_per_s(self) -> float:
        """The price of a second's stay at the present load, USD; 0 where places are not scarce."""
        return 0.0 if self.tariff is None else self.tariff.usd_per_s(self.in_flight)

    def price(self, now_s: float) -> None:
        """Works out the tariff."""
        seen = (self.scarcity, *self.scarcity_elsewhere)
        if all(is_over(one, now_s) for one in seen):
            self.scarcity, self.scarcity_elsewhere, self.tariff = PLENTY, (), None
        else:
            self.tariff = tariff(seen, now_s)

    def doubt_all_of_account(self, states: Mapping[str, LiveState]) -> None:
        """It refuses everything. The deployments with the same key may, too, so they are doubted."""
        for name in self.same_account & states.keys():
            states[name].account = suspected(states[name].account)

    def lose(self, key: int) -> None:
        """Forgets a flight whose end will not be reported any more."""
        del self.flights[key]
        self.begun.discard(key)

    @property
    def failing_s(self) -> float:
        """When a benchmark last found it failing, Unix seconds; 0 without a finding that still counts."""
        return max([proof.since_s for (kind, _), proof in self.proofs.items() if kind == ERRORS], default=0.0)

    @property
    def is_vouched_for(self) -> bool:
        """Whether a request may try it though a benchmark found it failing: a health check was answered since."""
        return self.vouched_s >= self.failing_s

    def bad_share(self, kind: str, category: str, since_s: float) -> float | None:
        """The share of live requests (0..1), of all workers, that confirm what a benchmark found at `since_s`.

        `None` while there are too few requests, or where that finding is not known.
        """
        proof = self.proofs.get((kind, category))
        if proof is None or proof.since_s != since_s:
            return None
        return proof.plus(self.proofs_elsewhere.get((kind, category))).bad_share

    def answered(self, at_s: float) -> None:
        """The deployment gave a sign of life."""
        self.answered_at_s = max(self.answered_at_s, at_s)
        if is_suspected(self.circuit) and at_s > (self.circuit.changed_at_s or 0.0):
            self.circuit = succeeded(self.circuit, at_s)
