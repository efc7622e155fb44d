"""Hard filters: reasons why a deployment must not take a request at all.

Each takes the candidate's facts and prediction and returns a `Rejection`, with the value found and the limit it broke,
or `None`. Filters never shorten a list, so that the decision keeps every reason.

An unknown context window, error rate or capability rejects nothing, because most deployments work. An unknown quality
or price rejects where a floor or a ceiling is set, because those are promises.

The filters stand from the hardest to the softest. When no candidate passes them all, the softest give way first: an
answer below the quality floor, or a second try at the same deployment, is better than none. `answers` is harder than
those: an error is seen and can be repeated, but a garbled answer is paid for and looks like a success. The cost ceiling
of a key is the hardest: no request may get past it by asking for what only a dearer deployment can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from slo_router.contract.model import TEXT, Facts, Features, Prediction, Rejection, Slo

EVIDENCE = frozenset({"answers", "error_rate"})  # what a benchmark found, and may have changed
TOO_LARGE = "refused one as large"  # what a quota's rejection says of a request that is refused for its size
SERVICE_TIER = "service_tier"  # what a rejection says is missing
ANYTHING = Slo()
NO_FAULTS: Mapping[str, str] = MappingProxyType({})
CONTEXT_MARGIN = 1.1  # the estimate is made from characters, and the server's own count differs from LiteLLM's


class Demand(NamedTuple):
    """What a request demands of any deployment, what is known of them at the moment, and what quality is worth."""

    features: Features
    slo: Slo = ANYTHING
    max_error_rate: float = 1.0
    tried: frozenset[str] = frozenset()
    cost_ceiling_per_1k_usd: float | None = None
    shut: frozenset[str] = frozenset()  # deployments whose circuit does not let this request pass
    answer_faults: Mapping[str, str] = NO_FAULTS  # by deployment id: what was wrong with its answers in this category
    denied: frozenset[str] = frozenset()  # deployments that refuse everything
    full: frozenset[str] = frozenset()  # deployments that have all the requests that they may have
    readers: frozenset[str] | None = None  # deployments that can read the conversation's history; `None`: all
    spared: frozenset[str] = frozenset()  # deployments that recover: another goes before them
    home: str = ""  # the deployment that has the conversation in its cache
    scarce: frozenset[str] = frozenset()  # deployments whose last requests are kept for requests without another choice
    in_tier: frozenset[str] | None = None  # deployments that have the request's service tier; `None`: all
    worth_usd: float | None = None  # of a quality of 1, for the objective `value`
    too_large: frozenset[str] = frozenset()  # deployments that refused a request as large as this
    beside: frozenset[str] = frozenset()  # deployments at the address of a silent one: another goes before them


def context_window(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Prompt (with a margin for the estimate) and answer must fit the context window.

    The answer needs the room that the client asks for, else as much as the deployment is unlikely to exceed. Where
    `model_info` states an answer limit of its own, the window is for the prompt alone.
    """
    if facts.context_tokens is None:
        return None
    features = demand.features
    needed = features.prompt_tokens * CONTEXT_MARGIN
    if facts.max_output_tokens is None:
        is_limited = features.limit_tokens is not None or prediction.longest_tokens is None
        needed += features.reserved_tokens if is_limited else prediction.longest_tokens or 0.0
    if needed <= facts.context_tokens:
        return None
    return Rejection(facts.deployment_id, "context_window", round(needed), facts.context_tokens)


def capability(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Lacks what the request needs: a capability, the conversation's history or the service tier.

    `model_info` declares what is unsupported (tools, vision, …; text where its `mode` is another). History and tier
    count only where another deployment has them.
    """
    missing = facts.unsupported and facts.unsupported & {TEXT, *demand.features.needs}  # all routed requests want text
    if demand.readers is not None and facts.deployment_id not in demand.readers:
        missing |= {"history"}
    if demand.in_tier is not None and facts.deployment_id not in demand.in_tier:
        missing |= {SERVICE_TIER}
    if not missing:
        return None
    return Rejection(facts.deployment_id, "capability", ",".join(sorted(missing)), "supported")


def answer_limit(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """The client asks for room for a longer answer than the model gives: servers refuse such a request."""
    asked, limit = demand.features.limit_tokens, facts.max_output_tokens
    if asked is None or limit is None or asked <= limit:
        return None
    return Rejection(facts.deployment_id, "answer_limit", asked, limit)


def cost_ceiling(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Dearer than the key's or team's `slo_limits` allow, or of unknown price: not even a fallback may go there."""
    ceiling, cost = demand.cost_ceiling_per_1k_usd, prediction.cost_per_1k_usd
    if ceiling is None or (cost is not None and cost <= ceiling):
        return None
    return Rejection(facts.deployment_id, "cost_ceiling", cost, ceiling)


def answers(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Answered garbage in this category when it was last measured: looping, special tokens, broken JSON."""
    fault = demand.answer_faults.get(facts.deployment_id)
    return None if fault is None else Rejection(facts.deployment_id, "answers", fault, "sound")


def account(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Refuses every request: out of credit, a key that was revoked, a model that is gone."""
    if facts.deployment_id not in demand.denied:
        return None
    return Rejection(facts.deployment_id, "account", "refuses everything", "an answer")


def quota(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Full by a limit of the provider, the configuration or LiteLLM; or refused a request as large for its size."""
    if facts.deployment_id in demand.too_large:
        return Rejection(facts.deployment_id, "quota", TOO_LARGE, "room")
    if facts.deployment_id not in demand.full:
        return None
    return Rejection(facts.deployment_id, "quota", "all the requests that it may have", "room")


def error_rate(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Failed more often than the group allows when last measured."""
    if prediction.error_rate is None or prediction.error_rate <= demand.max_error_rate:
        return None
    return Rejection(facts.deployment_id, "error_rate", prediction.error_rate, demand.max_error_rate)


def quality(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Not sure to be as good as asked for in this category (`quality_bound`), or of unknown quality."""
    floor, bound = demand.slo.min_quality, prediction.quality_bound
    if floor is None or (bound is not None and bound >= floor):
        return None
    return Rejection(facts.deployment_id, "quality", bound, floor)


def already_tried(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Failed this very request a moment ago."""
    if facts.deployment_id not in demand.tried:
        return None
    return Rejection(facts.deployment_id, "already_tried", "failed this request", "an untried deployment")


def circuit(facts: Facts, prediction: Prediction, demand: Demand) -> Rejection | None:
    """Fails now: its circuit is open and does not let this request pass."""
    if facts.deployment_id not in demand.shut:
        return None
    return Rejection(facts.deployment_id, "circuit", "open", "closed")


Filter = Callable[[Facts, Prediction, Demand], Rejection | None]
FILTERS: tuple[Filter, ...] = (
    cost_ceiling,
    context_window,
    capability,
    answer_limit,
    answers,
    quota,
    account,
    already_tried,
    circuit,
    error_rate,
    quality,
)
HARDNESS = {accepts.__name__: len(FILTERS) - i for i, accepts in enumerate(FILTERS)}


def concerned(demand: Demand) -> tuple[Filter, ...]:
    """The filters that can reject a candidate for this demand, hardest first. They are the same for all candidates."""
    return _asked(
        (
            demand.cost_ceiling_per_1k_usd is not None,
            True,
            True,
            demand.features.limit_tokens is not None,
            bool(demand.answer_faults),
            bool(demand.full or demand.too_large),
            bool(demand.denied),
            bool(demand.tried),
            bool(demand.shut),
            demand.max_error_rate < 1,
            demand.slo.min_quality is not None,
        )
    )


@cache
def _asked(flags: tuple[bool, ...]) -> tuple[Filter, ...]:
    return tuple(accepts for accepts, is_asked in zip(FILTERS, flags, strict=True) if is_asked)
