"""What each candidate would do with one request.

A prediction uses the features, and what is known of the request at the candidate: how long the answer would be, what
the cache holds of the prompt, and whether the candidate has the conversation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.model import EMPTY, Assessment, Facts, Features, Outlook, Prediction, Slo
from slo_router.decision.prediction import (
    View,
    at_cached_price,
    cost_chance,
    cost_interval_usd,
    outlook,
    predict,
    with_cache,
)
from slo_router.request.conversations import NOTHING_CACHED, Cached
from slo_router.request.lengths import Length, assumed

_new = tuple.__new__  # of a named tuple: `_replace` takes seven times as long
NO_LENGTHS: Mapping[str, Length] = MappingProxyType({})


class Ask(NamedTuple):
    """One request: what it is, what it asks for, and which deployments already failed it."""

    features: Features
    slo: Slo
    tried: frozenset[str] = frozenset()
    cost_ceiling_per_1k_usd: float | None = None  # of its key or team; nothing in the request lifts it
    cached: Cached = NOTHING_CACHED
    full: frozenset[str] = frozenset()  # deployments with all the requests that they may have, by LiteLLM's count
    readers: frozenset[str] | None = None  # deployments that can read the conversation's history; `None`: all
    lengths: Mapping[str, Length] = NO_LENGTHS  # of one answer, by deployment id
    in_tier: frozenset[str] | None = None  # deployments that have the request's service tier; `None`: all
    hits: Mapping[str, float] = EMPTY  # by deployment id: the part of any prompt that is read from its cache
    worth_usd: float | None = None  # of a quality of 1, for the objective `value`
    beside: frozenset[str] = frozenset()  # deployments at the address of one that was silent to this request

    def length(self, deployment_id: str) -> Length:
        """The length of this deployment's answer; if nothing is known of it, as expected of the category."""
        found = self.lengths.get(deployment_id)
        return assumed(self.features.output_tokens / self.features.choices) if found is None else found

    def cached_tokens(self, deployment_id: str) -> int:
        """Tokens of the prompt that are expected to be billed as read from this deployment's cache."""
        prompt_tokens = self.features.prompt_tokens
        tokens = round(self.hits.get(deployment_id, 0.0) * prompt_tokens)
        known = self.cached.tokens if deployment_id == self.cached.deployment_id else 0
        return max(tokens, min(known, prompt_tokens))


def foresee(ask: Ask, candidates: Sequence[Facts], view: View, level: int) -> list[Prediction]:
    """What each candidate would do with this request; latencies at position `level` among `LEVELS`."""
    features, lengths = ask.features, ask.lengths
    found = [predict(facts, features, view, level, lengths.get(facts.deployment_id)) for facts in candidates]
    home = ask.cached.deployment_id
    if home or ask.hits:
        for number, facts in enumerate(candidates):
            name = facts.deployment_id
            if name == home:
                tokens, length = ask.cached.tokens, lengths.get(home)
                found[number] = with_cache(facts, features, view, level, tokens, length=length)
            if name in ask.hits:  # only the price changes: the measured latencies include such reads
                found[number] = at_cached_price(found[number], facts, features, ask.cached_tokens(name))
    return found


def affordable(
    features: Features, offered: Sequence[Facts], view: View, lengths: Mapping[str, Length], ceiling_usd: float
) -> frozenset[str]:
    """The deployments of `offered` that keep a ceiling in USD per 1,000 tokens.

    Where none does, the cheapest; all of them where no price is known.
    """
    costs = {
        one.deployment_id: predict(one, features, view, length=lengths.get(one.deployment_id)).cost_per_1k_usd
        for one in offered
    }
    known = {name: usd for name, usd in costs.items() if usd is not None}
    limit_usd = max(ceiling_usd, min(known.values(), default=math.inf))
    return frozenset(name for name, usd in known.items() if usd <= limit_usd) or frozenset(costs)


def read_cached(ask: Ask, candidates: Sequence[Facts]) -> Mapping[str, int]:
    """By deployment id: tokens of the prompt that are billed as read from its cache, without the zeros."""
    counts = {facts.deployment_id: ask.cached_tokens(facts.deployment_id) for facts in candidates}
    return {name: tokens for name, tokens in counts.items() if tokens}


def outlook_at(ask: Ask, candidates: Sequence[Facts], view: View, assessment: Assessment) -> Outlook | None:
    """What to expect of this request at a candidate; `None` where the live evidence is too thin."""
    name, features = assessment.deployment_id, ask.features
    state, length = view.live.get(name), ask.length(name)
    if name == ask.cached.deployment_id:
        features = features._replace(prompt_tokens=max(features.prompt_tokens - ask.cached.tokens, 0))
    found = None if state is None else outlook(features, ask.slo, state, length)
    if found is None or "cost_per_1k" not in assessment.missed:
        return found
    in_time = 1.0 if found.probability is None else found.probability
    facts = _facts_of(name, candidates)
    limit_usd = ask.slo.cost_per_1k_usd or 0.0
    affordable = cost_chance(facts, ask.features, limit_usd, view, length, cached_tokens=ask.cached_tokens(name))
    return found._replace(probability=in_time * affordable)


def with_answer(features: Features, prediction: Prediction) -> Features:
    """The features with the answer that the pick is expected to write."""
    tokens = prediction.output_tokens
    return features if tokens is None else _new(Features, (*features[:3], round(tokens), *features[4:]))


def cost_interval_at(ask: Ask, candidates: Sequence[Facts], chosen: Assessment) -> tuple[float, float] | None:
    """Nine of ten such requests cost between the two at the pick; `None` where its price is unknown."""
    name = chosen.deployment_id
    facts = _facts_of(name, candidates)
    return cost_interval_usd(facts, ask.features, chosen.prediction, ask.length(name), ask.cached_tokens(name))


def _facts_of(name: str, candidates: Sequence[Facts]) -> Facts:
    return next(one for one in candidates if one.deployment_id == name)
