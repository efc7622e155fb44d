"""What the workers tell each other of the deployments, and what each believes of it. Pure.

    export() → (Redis) → hear(the others' exports): load, circuits and latencies by what all workers saw

Each worker publishes only what it saw itself, as sums that can be added. So no worker reads, changes and writes back
what another wrote. No worker trusts what another says: what cannot be true is left out. Work over all deployments
yields after each one, so that the job that runs it can let other tasks go on in between.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from slo_router.contract.ages import Proof
from slo_router.contract.units import CLOCK_SKEW_S
from slo_router.latency.evidence import MAX_S, Evidence
from slo_router.live import account, quota_said
from slo_router.live.account import TRUSTED, Account
from slo_router.live.circuit import CLOSED, HEARSAY, LONGEST_PAUSE_S, Circuit, latest
from slo_router.live.lateness import MAX_PAUSES, OVERDUE_FLIGHTS, Stalls, overdue
from slo_router.live.live import Live
from slo_router.live.scarcity import PLENTY, STEPS, Scarcity
from slo_router.live.state import MAX_LEVEL, NOTHING_SAID, LastWord, LiveState

FEW = 8  # up to so many other workers' evidence is added up at each exchange; with more that takes long …
ADD_UP_S = 0.1  # … so it is done every ADD_UP_S × their number. All else is always heard
MAX_LOAD = 1e6
MAX_UNIX_S = 1e12
MAX_COUNT = 1_000_000
MAX_STAY_S = 1e6


class Said(TypedDict, total=False):
    """What a worker publishes of one deployment. No other field is read, and no other worker's value is trusted."""

    in_flight: Any
    answered_at_s: Any
    overdue: Any
    circuit: Any
    account: Any
    quota: Any  # where it has a limit
    last_word: Any
    proofs: Any  # with `vouched_s`, where a benchmark found something against it
    vouched_s: Any
    scarcity: Any  # where it is scarce
    evidence: msgspec.Raw  # kept undecoded: it is read only where it changed


Export = Mapping[str, msgspec.Raw]  # by deployment id, JSON of `Said`
_said = msgspec.json.Decoder(Said)


def export(live: Live, now_s: float) -> Iterator[tuple[str, msgspec.Raw]]:
    """What this worker saw itself, deployment by deployment. Evidence is encoded again only after a change."""
    for name, state in list(live.states.items()):
        yield name, msgspec.Raw(msgspec.json.encode(_say(state, live.stalls, now_s)))


def _say(state: LiveState, stalls: Stalls, now_s: float) -> Said:
    said: Said = {
        "in_flight": len(state.flights) + state.foreign,
        "answered_at_s": state.answered_at_s,
        "overdue": overdue(state, stalls, now_s)[-OVERDUE_FLIGHTS:],
        "circuit": state.circuit,
        "account": state.account,
        "last_word": state.last_word,
        "evidence": state.evidence.to_raw(),
    }
    if state.quota is not None:
        said["quota"] = quota_said.say(state.quota, now_s)
    if state.proofs:
        said["proofs"] = [[*key, *proof] for key, proof in state.proofs.items()]
        said["vouched_s"] = state.vouched_s
    if state.scarcity is not PLENTY:
        load, *times_s, offered_s = state.scarcity
        said["scarcity"] = [None if math.isinf(load) else load, *times_s, list(offered_s.items())]
    return said


def hear(
    live: Live, others: Iterable[Export], known: Iterable[str], now_s: float, rank: int = 0
) -> Generator[None, None, None]:
    """Takes in what the other workers published, of the deployments in `known` and in `live`.

    `rank` is this worker's position among all.
    """
    for name in known:
        live.state(name)
    others = list(others)
    for name, state in list(live.states.items()):
        told = [export[name] for export in others if name in export]
        entries = [said for text in told if (said := _read(text)) is not None]
        _hear_state(state, entries, now_s)
        state.quota = quota_said.hear(state.quota, [entry.get("quota") for entry in entries], now_s, rank)
        seen = [entry["evidence"] for entry in entries if "evidence" in entry]
        yield from _hear_evidence(state, seen, now_s)
        yield


def _hear_state(state: LiveState, entries: Sequence[Said], now_s: float) -> None:
    state.overdue_elsewhere = [at_s for entry in entries for at_s in _times(entry.get("overdue"))]
    state.own_then, state.others = len(state.flights), len(entries)
    state.elsewhere = sum(_load(entry.get("in_flight")) for entry in entries)
    for entry in entries:
        state.circuit = latest(state.circuit, _circuit(entry.get("circuit")), now_s)
        state.account = account.latest(state.account, _account(entry.get("account")), now_s)
        state.last_word = max(state.last_word, _last_word(entry.get("last_word"), now_s))
        state.answered(_moment(entry.get("answered_at_s"), now_s))
    state.scarcity_elsewhere = [found for entry in entries if (found := _scarcity(entry.get("scarcity"), now_s))]
    state.price(now_s)
    if state.proofs:
        state.proofs_elsewhere = _proofs(entry.get("proofs") for entry in entries)
        state.vouched_s = max([state.vouched_s, *(_moment(entry.get("vouched_s"), now_s) for entry in entries)])
    if not state.circuit.is_open and state.circuit.changed_at_s is not None:  # some worker had an answer then
        state.answered(state.circuit.changed_at_s)


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
        del found  # else the garbage collector looks through this one's memory together with the next one's
        yield
    state.heard, state.heard_marks, state.heard_at_s = heard, marks, now_s


def _read(text: msgspec.Raw) -> Said | None:
    """What another worker says of a deployment; `None` where it is no object."""
    try:
        return _said.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _load(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_LOAD else 0.0


def _moment(value: object, now_s: float) -> float:
    """Unix seconds, as JSON brought them: now at the latest, 0 where they make no sense."""
    return min(float(value), now_s) if isinstance(value, int | float) and 0 <= value <= MAX_UNIX_S else 0.0


def _times(value: object) -> list[float]:
    """The last OVERDUE_FLIGHTS times in Unix seconds, as JSON brought them; what makes no sense is left out."""
    times = value[-OVERDUE_FLIGHTS:] if isinstance(value, list) else []
    return [float(at_s) for at_s in times if isinstance(at_s, int | float) and 0 <= at_s <= MAX_UNIX_S]


def _last_word(value: object, now_s: float) -> LastWord:
    """Another worker's, as JSON brought it; `NOTHING_SAID` where it makes no sense or lies in the future."""
    match value:
        case [
            int() | float() as at_s,
            int() | float() as level,
            int(pauses),
            int() | float() as load,
            int() | float() as base_s,
        ] if (
            0 <= at_s <= now_s + CLOCK_SKEW_S
            and 0 <= level <= MAX_LEVEL
            and 0 <= pauses <= MAX_PAUSES
            and 0 <= load < math.inf
            and 0 <= base_s <= MAX_S
        ):
            return LastWord(min(float(at_s), now_s), float(level), int(pauses), float(load), float(base_s))
        case _:
            return NOTHING_SAID


def _proofs(said: Iterable[object]) -> dict[tuple[str, str], Proof]:
    """The other workers' proofs, as JSON brought them, added up; what makes no sense is left out."""
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


def _scarcity(value: object, now_s: float) -> Scarcity | None:
    """What another worker saw, as JSON brought it; `None` where it makes no sense."""
    match value:
        case [None | int() | float() as load, int() | float() as at_s, int() | float() as offered_at_s, list(offers)]:
            offered_s = {
                step: float(stay_s)
                for offer in offers[: 2 * STEPS + 1]
                for step, stay_s in [_offer(offer)]
                if -STEPS <= step <= STEPS and 0 < stay_s <= MAX_STAY_S
            }
            lowest = math.inf if load is None or not 0 < load <= MAX_LOAD else float(load)
            return Scarcity(lowest, _moment(at_s, now_s), _moment(offered_at_s, now_s), offered_s)
        case _:
            return None


def _offer(value: object) -> tuple[int, float]:
    match value:
        case [int(step), int() | float() as stay_s]:
            return step, float(stay_s)
        case _:
            return 0, 0.0


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
