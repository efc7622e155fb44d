"""What a deployment would do with this request: latency, cost and quality, each with its evidence.

    TTFT  what is kept with the group's confidence, for this prompt at this load: by the live curve, else by the curve
          of the last sweep; else the benchmark's p95, else its mean
    TPOT  likewise
    E2E   TTFT + TPOT × (output tokens that the client sees − 1), for a long answer: with the group's confidence no
          answer is longer. The client's limit bounds its length
    cost  of the expected answer. Self-hosted (`gpu_usd_per_hour`): the measured USD per 1,000 tokens × this request's
          tokens; else prices × tokens (`prices`); else the measured USD per 1,000 tokens; else unknown

An answer's length is one distribution (`request.lengths`). Its mean, quantiles and chances are used for all of these. A
category that a deployment was not measured in is predicted from its other categories (basis `pooled`). What nobody
measured is `None`, never 0: an unknown deployment is not a fast one. Quality and its bound were judged in the
background (`quality.judging`). While the regression gate holds a deployment, its quality is unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from slo_router.contract.ages import ODD_SHARE
from slo_router.contract.model import LEVELS, Facts, Features, Outlook, Prediction, Slo, Snapshot
from slo_router.contract.prices import cost_usd as price_of
from slo_router.contract.prices import rates
from slo_router.decision.known import NOT_JUDGED, Known, know, look_up
from slo_router.latency.curve import P5, P50, P95, probability
from slo_router.latency.curve import tpot_s as curve_tpot_s
from slo_router.latency.curve import ttft_s as curve_ttft_s
from slo_router.live.state import ANSWERS, ERRORS, LiveState
from slo_router.quality.judging import Judged
from slo_router.request.conversations import Cached
from slo_router.request.lengths import Length, assumed

PROMPT_ERROR = 0.1  # of a prompt's tokens, which are estimated from characters
ENOUGH_LIVE = 5.0  # live samples, as they weigh now; with fewer, a benchmark of this category knows more

LEAST_PREFILL = 0.1  # of a measured TTFT; at most the rest was thought

_EDGES = (0.0, *((a + b) / 2 for a, b in itertools.pairwise(LEVELS)), 1.0)
_WEIGHTS = tuple(high - low for low, high in itertools.pairwise(_EDGES))  # what each of LEVELS stands for
_SURE = sum(_WEIGHTS)

_new = tuple.__new__  # of a named tuple, in half the time of its own constructor
_LEAST_S = 1e-9  # nothing is faster, and a limit can be divided by it


Item = TypeVar("Item")


class Rng(Protocol):
    """The randomness of a decision; `random.Random` has it."""

    def choice(self, seq: Sequence[Item], /) -> Item:
        """One of the items."""

    def random(self) -> float:
        """From 0 to below 1."""


class View(NamedTuple):
    """The world as the decider sees it. `now_s` is Unix seconds; `live` and `known` are by deployment id."""

    snapshot: Snapshot
    now_s: float
    rng: Rng
    live: Mapping[str, LiveState] = MappingProxyType({})
    known: Mapping[str, Mapping[str, Known]] = MappingProxyType({})  # then by category; the rest is in `snapshot`
    judged: Judged = NOT_JUDGED  # the qualities of what `known` lacks


_NOTHING: Mapping[str, Known] = MappingProxyType({})


def predict(facts: Facts, features: Features, view: View, level: int = P95, length: Length | None = None) -> Prediction:
    """Predicts one candidate. `level` is the position among `LEVELS` of the latencies asked for.

    `length` is the length of one of its answers; `None`: as expected of the category.
    """
    prompt_tokens, choices, limit = features.prompt_tokens, features.choices, features.limit_tokens
    if length is None:
        answer = features.output_tokens / choices
        length = assumed(answer)
    else:
        answer = length.mean if limit is None else length.within(limit)
    output_tokens, longest = answer * choices, length.at(level)
    if limit is not None and limit < longest:
        longest = limit
    hidden_tokens = answer * (1.0 - length.shown)
    known = _known(facts, features.category, view)
    basis, ttft_s, tpot_s, at_s, samples, quality, error_rate, priced, per_1k_usd, curve, failed_s, graded, before = (
        known
    )
    live, in_flight = view.live.get(facts.deployment_id), 0.0
    if live is not None:
        in_flight = live.in_flight
        if error_rate and live.proofs:
            shown = live.bad_share(ERRORS, features.category, failed_s)
            error_rate = error_rate if shown is None else min(shown, error_rate)
        if live.curve is not None and live.curve.weight >= ENOUGH_LIVE:
            curve = live.curve
            basis, at_s, samples = "live", curve.measured_at_s, int(curve.weight)
    if curve is not None:
        ttft_s = curve_ttft_s(curve, prompt_tokens, in_flight, hidden_tokens) * curve.ttft_ratios[level]
        tpot_s = curve_tpot_s(curve, in_flight) * curve.tpot_ratios[level]
    elif before is not None and ttft_s is not None and tpot_s is not None:
        ttft_s = max(ttft_s + (hidden_tokens - before) * tpot_s, LEAST_PREFILL * ttft_s)
    e2e_s = expected_s = None
    if ttft_s is not None and tpot_s is not None:
        seen, most_seen = answer * length.shown, longest * length.shown  # several choices are written at once
        expected_s = ttft_s + tpot_s * (seen - 1) if seen > 1 else ttft_s
        e2e_s = ttft_s + tpot_s * (most_seen - 1) if most_seen > 1 else ttft_s
    tokens = prompt_tokens + output_tokens
    cost_usd = price_of(facts, prompt_tokens, output_tokens, 0, expected_s) if priced else None
    if cost_usd is not None:
        per_1k_usd = cost_usd * 1_000 / tokens if tokens else None
    else:
        cost_usd = None if per_1k_usd is None else per_1k_usd * tokens / 1_000
    age_s = None if at_s is None else view.now_s - at_s
    first = (ttft_s, tpot_s, e2e_s, cost_usd, per_1k_usd, quality, error_rate, basis, age_s, samples, in_flight)
    return _new(Prediction, first + (output_tokens, longest, length.mean, hidden_tokens) + graded)  # noqa: RUF005  # twice as fast


def with_cache(
    facts: Facts, features: Features, view: View, level: int, cached_tokens: int, *, length: Length | None = None
) -> Prediction:
    """Predicts a candidate that has so many of the prompt's tokens in its prefix cache: they need no prefill."""
    fresh_tokens = max(features.prompt_tokens - cached_tokens, 0)
    whole = predict(facts, features, view, level, length)
    fresh = predict(facts, features._replace(prompt_tokens=fresh_tokens), view, level, length)
    whole = whole._replace(ttft_s=fresh.ttft_s, e2e_s=fresh.e2e_s)
    return at_cached_price(whole, facts, features, features.prompt_tokens - fresh_tokens)


def at_cached_price(prediction: Prediction, facts: Facts, features: Features, cached_tokens: int) -> Prediction:
    """The prediction if `cached_tokens` of the prompt's tokens are billed as read from a cache."""
    if facts.cached_usd_per_token is None or facts.gpu_usd_per_hour is not None:
        return prediction
    output_tokens = prediction.output_tokens or 0.0
    cost_usd = price_of(facts, features.prompt_tokens, output_tokens, cached_tokens)
    if cost_usd is None:
        return prediction
    tokens = features.prompt_tokens + output_tokens
    return prediction._replace(cost_usd=cost_usd, cost_per_1k_usd=cost_usd * 1_000 / tokens if tokens else None)


def leaving_usd(candidates: Iterable[Facts], features: Features, cached: Cached) -> Mapping[str, float]:
    """USD that each other deployment asks to read what the conversation's deployment has cached, if it has a price."""
    tokens, home = min(cached.tokens, features.prompt_tokens), cached.deployment_id
    prices = {
        one.deployment_id: rates(one, features.prompt_tokens)[0] for one in candidates if one.gpu_usd_per_hour is None
    }
    return {name: tokens * usd for name, usd in prices.items() if usd is not None and name != home}


def cost_interval_usd(
    facts: Facts, features: Features, prediction: Prediction, length: Length, cached_tokens: int = 0
) -> tuple[float, float] | None:
    """Nine of ten such requests cost between the two: by the answer's length, and by how well a prompt is estimated."""
    expected_usd, expected_tokens = prediction.cost_usd, (prediction.output_tokens or 0.0) / features.choices
    if expected_usd is None:
        return None
    if facts.gpu_usd_per_hour is not None and prediction.cost_per_1k_usd is not None:
        prompt_usd: float | None = prediction.cost_per_1k_usd * features.prompt_tokens / 1_000
    else:
        prompt_usd = price_of(facts, features.prompt_tokens, 0.0, cached_tokens, prediction.ttft_s)
    if prompt_usd is None or not expected_tokens:
        return expected_usd, expected_usd
    per_token_usd, error_usd = (expected_usd - prompt_usd) / expected_tokens, PROMPT_ERROR * prompt_usd
    most = math.inf if features.limit_tokens is None else features.limit_tokens
    shorter, longer = (min(length.at(level), most) - expected_tokens for level in (P5, P95))
    less_usd, more_usd = math.hypot(per_token_usd * shorter, error_usd), math.hypot(per_token_usd * longer, error_usd)
    return max(expected_usd - less_usd, 0.0), expected_usd + more_usd


def outlook(features: Features, slo: Slo, live: LiveState, length: Length) -> Outlook | None:
    """What to expect of this request, `None` where the live evidence is too thin.

    Of several limits the one that is least likely to be kept decides: a busy deployment misses them together.
    """
    curve = live.curve
    if curve is None or curve.weight < ENOUGH_LIVE:
        return None
    ttft_ratios, tpot_ratios, in_flight = curve.ttft_ratios, curve.tpot_ratios, live.in_flight
    hidden_tokens = length.hidden(features.limit_tokens)
    ttft_s = max(curve_ttft_s(curve, features.prompt_tokens, in_flight, hidden_tokens), _LEAST_S)
    likely: float | None = None
    if slo.ttft_s is not None:
        likely = probability(ttft_ratios, slo.ttft_s / ttft_s)
    if slo.tpot_s is not None or slo.e2e_s is not None:
        tpot_s = max(curve_tpot_s(curve, in_flight), _LEAST_S)
        if slo.tpot_s is not None:
            chance = probability(tpot_ratios, slo.tpot_s / tpot_s)
            likely = chance if likely is None or chance < likely else likely
        if slo.e2e_s is not None:
            first, further = (ttft_s, ttft_ratios), (tpot_s, tpot_ratios)
            chance = _chance_to_end(length, features.limit_tokens, slo.e2e_s, first, further)
            likely = chance if likely is None or chance < likely else likely
    return Outlook(likely, ttft_s * ttft_ratios[P50], ttft_s * ttft_ratios[P95])


def _chance_to_end(
    length: Length,
    most: int | None,
    limit_s: float,
    first: tuple[float, Sequence[float]],
    further: tuple[float, Sequence[float]],
) -> float:
    """P(the answer ends in time). `first` and `further` are typical TTFT and TPOT, each with its ratios at `LEVELS`."""
    (ttft_s, ttft_ratios), (tpot_s, tpot_ratios), shown = first, further, length.shown
    if most is not None and (limit_s - ttft_s * ttft_ratios[-1]) / (tpot_s * tpot_ratios[-1]) + 1 >= most * shown:
        return _SURE  # even the longest answer at the slowest
    chance = 0.0
    for ttft_ratio, tpot_ratio, weight in zip(ttft_ratios, tpot_ratios, _WEIGHTS, strict=True):
        room = (limit_s - ttft_s * ttft_ratio) / (tpot_s * tpot_ratio) + 1  # tokens that the client sees
        if room >= 1:
            room /= shown
            chance += weight * (1.0 if most is not None and room >= most else length.chance(room))
    return chance


def cost_chance(
    facts: Facts, features: Features, limit_per_1k_usd: float, view: View, length: Length, *, cached_tokens: int = 0
) -> float:
    """P(the answer's length keeps the cost limit). 0 for a measured cost, which does not depend on the length."""
    if not _known(facts, features.category, view).is_priced:
        return 0.0
    output_usd = rates(facts, features.prompt_tokens)[1]
    prompt_usd = price_of(facts, features.prompt_tokens, 0.0, cached_tokens)
    if output_usd is None or prompt_usd is None:
        return 0.0
    limit_usd = limit_per_1k_usd / 1_000
    prompt_room, output_room = limit_usd * features.prompt_tokens - prompt_usd, limit_usd - output_usd
    if output_room == 0:
        return 1.0 if prompt_room >= 0 else 0.0
    bound = -prompt_room / output_room / features.choices  # tokens of one answer
    most = features.limit_tokens
    shorter = 1.0 if most is not None and most <= bound else length.chance(max(bound, 0.0))
    return 1 - shorter if output_room > 0 else shorter


def _known(facts: Facts, category: str, view: View) -> Known:
    found = view.known.get(facts.deployment_id, _NOTHING).get(category)
    return know(facts, (category,), view.snapshot, view.judged)[category] if found is None else found


def answer_faults(candidates: Iterable[Facts], category: str, view: View) -> Mapping[str, str]:
    """By deployment id: what the answer checks found wrong with its answers in a category. Live ones may refute it."""
    faults: dict[str, str] = {}
    for facts in candidates:
        name = facts.deployment_id
        row, state = look_up(name, category, view.snapshot)[0], view.live.get(name)
        if row is None or row.answer_fault is None:
            continue
        odd = None if state is None else state.bad_share(ANSWERS, category, row.faulty_at_s)
        if odd is None or odd > ODD_SHARE:
            faults[name] = row.answer_fault
    return faults
