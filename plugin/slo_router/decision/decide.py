"""The whole decision: which deployment satisfies this request's SLO at the lowest cost.

    candidates ─→ foresee: predictions ─→ choose: SLO and filters → what gives way → objective → pick ─→ Decision

Pure: the clock and the randomness come in with `View`, and nothing here logs, waits or reads the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.model import (
    EMPTY,
    EMPTY_COUNTS,
    Assessment,
    Decision,
    Facts,
    Features,
    Outlook,
    Prediction,
    Rejection,
    Slo,
    Standing,
)
from slo_router.contract.settings.config import GroupSettings, Weights
from slo_router.decision.filters import EVIDENCE, NO_FAULTS, Demand, concerned
from slo_router.decision.picking import pick
from slo_router.decision.prediction import (
    View,
    answer_faults,
    at_cached_price,
    cost_chance,
    cost_interval_usd,
    leaving_usd,
    outlook,
    predict,
    with_cache,
)
from slo_router.decision.relaxation import Unable, keep, least_rejected, spare
from slo_router.decision.scoring import assess, limits_of, weigh
from slo_router.latency.curve import LEVELS
from slo_router.live.account import lets_pass
from slo_router.live.circuit import share
from slo_router.live.quota import Room, room
from slo_router.live.state import ANSWERS, ERRORS
from slo_router.request.conversations import NOTHING_CACHED, Cached
from slo_router.request.lengths import Length, assumed

NotAsked = tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str], frozenset[str]]
ALL_ASKED: NotAsked = (frozenset(),) * 5


NO_LENGTHS: Mapping[str, Length] = MappingProxyType({})
_POSITIONS = {level: position for position, level in enumerate(LEVELS)}
_new = tuple.__new__  # of a named tuple, in half the time of its own constructor
_UNKNOWN = Standing.UNKNOWN  # an enum's attribute is slow to look up


class Ask(NamedTuple):
    """One request: what it is, what it asks for, and who already failed it."""

    features: Features
    slo: Slo
    tried: frozenset[str] = frozenset()
    cost_ceiling_per_1k_usd: float | None = None  # its key's or team's, which no wish may lift
    cached: Cached = NOTHING_CACHED
    full: frozenset[str] = frozenset()  # have all the requests that they may have, as LiteLLM counts them
    readers: frozenset[str] | None = None  # who can read the conversation's history; `None`: everybody
    lengths: Mapping[str, Length] = NO_LENGTHS  # of one answer, by deployment id
    in_tier: frozenset[str] | None = None  # have the service tier that the request names; `None`: everybody
    hits: Mapping[str, float] = EMPTY  # by deployment id: the part of any prompt that is read from its cache

    def length(self, deployment_id: str) -> Length:
        """How long this deployment's answer may get; where nothing is known of it, as in this category."""
        found = self.lengths.get(deployment_id)
        return assumed(self.features.output_tokens / self.features.choices) if found is None else found

    def cached_tokens(self, deployment_id: str) -> int:
        """Of the prompt, expected to be billed as read from this deployment's cache."""
        prompt_tokens = self.features.prompt_tokens
        tokens = round(self.hits.get(deployment_id, 0.0) * prompt_tokens)
        known = self.cached.tokens if deployment_id == self.cached.deployment_id else 0
        return max(tokens, min(known, prompt_tokens))


class Policy(NamedTuple):
    """How a group is routed, with the fingerprint that is stamped on its decisions."""

    group: GroupSettings
    fingerprint: str


class Choice(NamedTuple):
    """Who is to answer, and from whom that was picked."""

    chosen: Assessment
    is_met: bool  # a candidate that passes every filter is expected to keep the SLO
    pool: Sequence[Assessment]
    unable: Unable  # with the reasons


def decide(ask: Ask, candidates: Sequence[Facts], view: View, policy: Policy) -> Decision:
    """Decides one request. `candidates` is LiteLLM's healthy pool and not empty; the pick is always one of them."""
    group, home = policy.group, ask.cached.deployment_id
    shut, spared, denied, full, scarce = _not_asked(ask, candidates, view) if view.live else ALL_ASKED
    faults = answer_faults(candidates, ask.features.category, view) if view.snapshot.any_fault else NO_FAULTS
    demand = Demand(
        ask.features,
        ask.slo,
        group.max_error_rate,
        ask.tried,
        ask.cost_ceiling_per_1k_usd,
        shut,
        faults,
        denied,
        ask.full | full,
        ask.readers,
        spared,
        home,
        scarce,
        ask.in_tier,
    )
    predictions = foresee(ask, candidates, view, _POSITIONS[group.confidence])
    chosen, is_met, pool, unable = choose(
        demand, candidates, predictions, group, view, chance=lambda one: _chance(ask, view, one)
    )
    return Decision(
        kind="met" if is_met else "fallback",
        deployment_id=chosen.deployment_id,
        features=_with_answer(ask.features, chosen.prediction),
        slo=ask.slo,
        assessments=(*pool, *_left_out(unable, pool)) if unable else tuple(pool),
        rejections=rejections_of(unable) if unable else (),
        policy=policy.fingerprint,
        outlook=_outlook(ask, view, chosen),
        cached_tokens=ask.cached.tokens if chosen.deployment_id == home else 0,
        cached_at=home,
        cost_interval_usd=_cost_interval_usd(ask, candidates, chosen),
        read_cached=_read_cached(ask, candidates) if home or ask.hits else EMPTY_COUNTS,
        leaving_usd=leaving_usd(candidates, ask.features, ask.cached) if ask.cached.tokens else EMPTY,
    )


def foresee(ask: Ask, candidates: Sequence[Facts], view: View, level: int) -> list[Prediction]:
    """What each candidate would do with this request, latencies at that position among `LEVELS`."""
    features, lengths = ask.features, ask.lengths
    found = [predict(facts, features, view, level, lengths.get(facts.deployment_id)) for facts in candidates]
    home = ask.cached.deployment_id
    if home or ask.hits:
        for number, facts in enumerate(candidates):
            name = facts.deployment_id
            if name == home:
                tokens, length = ask.cached.tokens, lengths.get(home)
                found[number] = with_cache(facts, features, view, level, tokens, length=length)
            if name in ask.hits:  # beside the price nothing: its latencies are those of such prompts
                found[number] = at_cached_price(found[number], facts, features, ask.cached_tokens(name))
    return found


def choose(
    demand: Demand,
    candidates: Sequence[Facts],
    predictions: Sequence[Prediction],
    group: GroupSettings,
    view: View,
    *,
    chance: Callable[[Assessment], float | None],
) -> Choice:
    """Picks one of the `candidates`, not empty, by what each is predicted to do.

    `chance` is asked for the probability that a candidate keeps the SLO, where none is expected to.
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
    if demand.spared:
        able = spare(able, demand.spared, unable)
    if is_unknown:
        able = _with_twins(able, candidates)
    if demand.scarce:
        able = keep(able, demand.scarce, unable)
    pool = able or least_rejected(unable, candidates)
    if group.objective == "weighted":
        pool = weigh(pool, group.weights or Weights())
    if all(assessment.missed for assessment in pool):
        pool = [assessment._replace(probability=chance(assessment)) for assessment in pool]
    is_found = view.snapshot.any_error or view.snapshot.any_fault
    suspects = _suspects(unable, demand.features.category, view) if is_found and able and unable else ()
    weights = {one.deployment_id: one.weight for one in candidates if one.weight is not None}
    chosen = pick(pool, group, view, demand.home, suspects, weights=weights)
    is_met = bool(able) and not chosen.missed and not chosen.unknown
    return _new(Choice, (chosen, is_met, pool, unable))


def rejections_of(unable: Unable) -> tuple[Rejection, ...]:
    """Why they cannot, one after another."""
    return tuple([rejection for _, found in unable for rejection in found])


def _suspects(unable: Unable, category: str, view: View) -> list[Assessment]:
    """Those that nothing rules out but what a benchmark found, where a live request can show that it is so no more."""
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
    """Lets those of which nothing is known stand beside their equals: the same model at the same price, known to meet
    the SLO. Else the first replica with measurements would get all the traffic, and the others never any.
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
    """Those whose circuit lets this request not pass, those that recover and are spared it if another is able, those
    that refuse everything, those that are full, and those that have little room left.
    """
    shut: list[str] = []
    spared: list[str] = []
    denied: list[str] = []
    full: list[str] = []
    scarce: list[str] = []
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
        if state.quota is not None:
            tokens = ask.features.prompt_tokens + ask.features.output_tokens
            found = room(state.quota, view.now_s, tokens, state.in_flight - state.foreign)
            if found is not Room.ANY:
                (full if found is Room.NONE else scarce).append(facts.deployment_id)
    if shut or spared or denied or full or scarce:
        return frozenset(shut), frozenset(spared), frozenset(denied), frozenset(full), frozenset(scarce)
    return ALL_ASKED


def _outlook(ask: Ask, view: View, assessment: Assessment) -> Outlook | None:
    name, features = assessment.deployment_id, ask.features
    state, length = view.live.get(name), ask.length(name)
    if name == ask.cached.deployment_id:
        features = features._replace(prompt_tokens=max(features.prompt_tokens - ask.cached.tokens, 0))
    found = None if state is None else outlook(features, ask.slo, state, length)
    if found is None or "cost_per_1k" not in assessment.missed:
        return found
    in_time = 1.0 if found.probability is None else found.probability
    affordable = cost_chance(name, ask.features, ask.slo.cost_per_1k_usd or 0.0, view.snapshot, length)
    return found._replace(probability=in_time * affordable)


def _with_answer(features: Features, prediction: Prediction) -> Features:
    """The features with the answer that the pick is expected to write."""
    tokens = prediction.output_tokens
    return features if tokens is None else features._replace(output_tokens=round(tokens))


def _cost_interval_usd(ask: Ask, candidates: Sequence[Facts], chosen: Assessment) -> tuple[float, float] | None:
    name, features = chosen.deployment_id, ask.features
    facts = next(one for one in candidates if one.deployment_id == name)
    return cost_interval_usd(facts, features, chosen.prediction, ask.length(name), ask.cached_tokens(name))


def _chance(ask: Ask, view: View, assessment: Assessment) -> float | None:
    found = _outlook(ask, view, assessment)
    return None if found is None else found.probability


def _read_cached(ask: Ask, candidates: Sequence[Facts]) -> Mapping[str, int]:
    return {one.deployment_id: tokens for one in candidates if (tokens := ask.cached_tokens(one.deployment_id))}


def _left_out(unable: Sequence[tuple[Assessment, list[Rejection]]], pool: Sequence[Assessment]) -> Iterator[Assessment]:
    pooled = {assessment.deployment_id for assessment in pool}
    return (assessment for assessment, _ in unable if assessment.deployment_id not in pooled)
