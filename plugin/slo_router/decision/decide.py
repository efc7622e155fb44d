"""The whole decision: which deployment satisfies this request's SLO at the lowest cost.

    candidates ─→ foresee: predictions ─→ choose: SLO and filters → what gives way → objective → pick ─→ Decision

Pure: the clock and the randomness come in with `View`, and nothing here logs, waits or reads the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from slo_router.contract.model import (
    EMPTY,
    LEVELS,
    NOTHING,
    Assessment,
    Decision,
    Facts,
    Prediction,
    Rejection,
    Standing,
)
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.filters import EVIDENCE, NO_FAULTS, Demand, concerned
from slo_router.decision.foresight import (
    Ask,
    cost_interval_at,
    foresee,
    outlook_at,
    read_cached,
    with_answer,
)
from slo_router.decision.picking import pick
from slo_router.decision.prediction import View, answer_faults, leaving_usd
from slo_router.decision.relaxation import RECOVERS, SAME_SERVER, Unable, keep, least_rejected, spare
from slo_router.decision.scarcity import NO_CHARGES, charged, charges
from slo_router.decision.scoring import assess, limits_of, score
from slo_router.live.account import lets_pass
from slo_router.live.circuit import share
from slo_router.live.quota import Room, room
from slo_router.live.state import ANSWERS, ERRORS

NotAsked = tuple[frozenset[str], ...]
ALL_ASKED: NotAsked = (frozenset(),) * 6
_POSITIONS = {level: position for position, level in enumerate(LEVELS)}
_new = tuple.__new__  # of a named tuple, in half the time of its own constructor
_UNKNOWN = Standing.UNKNOWN  # an enum's attribute is slow to look up


class Policy(NamedTuple):
    """How a group is routed, with the fingerprint that is stamped on its decisions."""

    group: GroupSettings
    fingerprint: str


class Choice(NamedTuple):
    """The candidate that is to answer, and the pool from which it was picked."""

    chosen: Assessment
    is_met: bool  # a candidate that passes every filter is expected to keep the SLO
    pool: Sequence[Assessment]
    unable: Unable  # the rejected candidates, with the reasons


def decide(ask: Ask, candidates: Sequence[Facts], view: View, policy: Policy) -> Decision:
    """Decides one request. `candidates` is LiteLLM's healthy pool and not empty; the pick is always one of them."""
    group, home = policy.group, ask.cached.deployment_id
    demand = _demand(ask, candidates, view, group)
    predictions = foresee(ask, candidates, view, _POSITIONS[group.confidence])
    chosen, is_met, pool, unable = choose(
        demand,
        candidates,
        predictions,
        group,
        view,
        chance=lambda one: _chance(ask, candidates, view, one),
        shadow_usd=charges(candidates, predictions, view) if view.live else NO_CHARGES,
    )
    return Decision(
        kind="met" if is_met else "fallback",
        deployment_id=chosen.deployment_id,
        features=with_answer(ask.features, chosen.prediction),
        slo=ask.slo,
        assessments=(*pool, *_left_out(unable, pool)) if unable else tuple(pool),
        rejections=rejections_of(unable) if unable else (),
        policy=policy.fingerprint,
        outlook=outlook_at(ask, candidates, view, chosen),
        cached_tokens=ask.cached.tokens if chosen.deployment_id == home else 0,
        cached_at=home,
        cost_interval_usd=cost_interval_at(ask, candidates, chosen),
        read_cached=read_cached(ask, candidates) if home or ask.hits else NOTHING,
        leaving_usd=leaving_usd(candidates, ask.features, ask.cached) if ask.cached.tokens else EMPTY,
        quality_confidence=group.quality_confidence,
        worth_usd=ask.worth_usd,
    )


def _demand(ask: Ask, candidates: Sequence[Facts], view: View, group: GroupSettings) -> Demand:
    """What the request needs, and which deployments are not to be asked."""
    shut, spared, denied, full, scarce, too_large = _not_asked(ask, candidates, view) if view.live else ALL_ASKED
    faults = answer_faults(candidates, ask.features.category, view) if view.snapshot.any_fault else NO_FAULTS
    return Demand(
        ask.features,
        ask.slo,
        group.max_error_rate if view.snapshot.any_error else 1.0,  # none can be above
        ask.tried,
        ask.cost_ceiling_per_1k_usd,
        shut,
        faults,
        denied,
        ask.full | full,
        ask.readers,
        spared,
        ask.cached.deployment_id,
        scarce,
        ask.in_tier,
        ask.worth_usd,
        too_large,
        ask.beside,
    )


def choose(
    demand: Demand,
    candidates: Sequence[Facts],
    predictions: Sequence[Prediction],
    group: GroupSettings,
    view: View,
    *,
    chance: Callable[[Assessment], float | None],
    shadow_usd: Mapping[str, float] = NO_CHARGES,
) -> Choice:
    """Picks one of the `candidates`, not empty, by what each is predicted to do.

    `chance` gives the probability that a candidate keeps the SLO. It is called only if none is expected to keep it.
    `shadow_usd` is what a place is worth to others, by deployment id, where places are scarce.
    """
    filters, limits = concerned(demand), limits_of(demand.slo)
    able: list[Assessment] = []
    unable: Unable = []
    is_unknown = False
    for facts, prediction in zip(candidates, predictions, strict=True):
        assessment = assess(facts.deployment_id, prediction, limits)
        found: list[Rejection] = []
        for accepts in filters:  # a comprehension would cost a call
            broken = accepts(facts, prediction, demand)
            if broken is not None:
                found.append(broken)
        if found:
            unable.append((assessment, found))
        else:
            able.append(assessment)
            is_unknown = is_unknown or assessment.standing is _UNKNOWN
    for spared, why in ((demand.spared, RECOVERS), (demand.beside, SAME_SERVER)):
        able = spare(able, spared, unable, why) if spared else able
    if is_unknown:
        able = _with_twins(able, candidates)
    if demand.scarce:
        able = keep(able, demand.scarce, unable)
    pool = charged(able or least_rejected(unable, candidates), shadow_usd)
    if group.objective != "cheapest":
        pool = score(pool, group, demand.worth_usd)
    if all(assessment.missed for assessment in pool):
        pool = [assessment._replace(probability=chance(assessment)) for assessment in pool]
    is_found = view.snapshot.any_error or view.snapshot.any_fault
    suspects = _suspects(unable, demand.features.category, view) if is_found and able and unable else ()
    weights = {one.deployment_id: one.weight for one in candidates if one.weight is not None}
    chosen = pick(pool, group, view, demand.home, suspects, weights=weights)
    is_met = bool(able) and not chosen.missed and not chosen.unknown
    return _new(Choice, (chosen, is_met, pool, unable))


def rejections_of(unable: Unable) -> tuple[Rejection, ...]:
    """The reasons why the rejected candidates cannot answer, as one list."""
    return tuple([rejection for _, found in unable for rejection in found])


def _suspects(unable: Unable, category: str, view: View) -> list[Assessment]:
    """Candidates that only a benchmark's findings rule out, where a live request can refute these findings."""
    found: list[Assessment] = []
    for assessment, rejections in unable:
        state = view.live.get(assessment.deployment_id)
        if state is None or not state.proofs or not EVIDENCE.issuperset([one.filter for one in rejections]):
            continue
        kinds = {_KINDS[one.filter] for one in rejections}
        if all((kind, category) in state.proofs for kind in kinds) and state.is_vouched_for:
            found.append(assessment)
    return found


_KINDS = {"error_rate": ERRORS, "answers": ANSWERS}


def _with_twins(able: list[Assessment], candidates: Sequence[Facts]) -> list[Assessment]:
    """A candidate of which nothing is known meets the SLO if the same model at the same price is known to meet it.

    Else the first replica with measurements would get all the traffic, and the others never any.
    """
    kinds = {one.deployment_id: (one.model, one.input_usd_per_token, one.output_usd_per_token) for one in candidates}
    met = {kinds[one.deployment_id] for one in able if one.standing is Standing.MEETS}
    return [
        one._replace(standing=Standing.MEETS)
        if one.standing is _UNKNOWN and one.prediction.basis == "none" and kinds[one.deployment_id] in met
        else one
        for one in able
    ]


def _not_asked(ask: Ask, candidates: Sequence[Facts], view: View) -> NotAsked:
    """Deployments not to be asked, as in `Demand`: `shut`, `spared`, `denied`, `full`, `scarce` and `too_large`."""
    shut: list[str] = []
    spared: list[str] = []
    denied: list[str] = []
    full: list[str] = []
    scarce: list[str] = []
    too_large: list[str] = []
    for facts in candidates:
        state = view.live.get(facts.deployment_id)
        if state is None:
            continue
        if state.account.is_shut and not lets_pass(state.account, view.now_s):
            denied.append(facts.deployment_id)
        if state.circuit.changed_at_s is not None:
            part = share(state.circuit, view.now_s)
            if part < 1 and view.rng.random() >= part:
                (shut if state.circuit.is_open else spared).append(facts.deployment_id)
        if not state.sizes.takes(ask.features, view.now_s):
            too_large.append(facts.deployment_id)
        if state.quota is not None:
            tokens = ask.features.prompt_tokens + ask.features.output_tokens
            found = room(state.quota, view.now_s, tokens, state.in_flight_by_proxy)
            if found is not Room.ANY:
                (full if found is Room.NONE else scarce).append(facts.deployment_id)
    found_out = (shut, spared, denied, full, scarce, too_large)
    return tuple(map(frozenset, found_out)) if any(found_out) else ALL_ASKED


def _chance(ask: Ask, candidates: Sequence[Facts], view: View, assessment: Assessment) -> float | None:
    found = outlook_at(ask, candidates, view, assessment)
    return None if found is None else found.probability


def _left_out(unable: Sequence[tuple[Assessment, list[Rejection]]], pool: Sequence[Assessment]) -> Iterator[Assessment]:
    pooled = {assessment.deployment_id for assessment in pool}
    return (assessment for assessment, _ in unable if assessment.deployment_id not in pooled)
