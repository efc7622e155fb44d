"""`groups.NAME`: how one group of `model_list` is routed.

    mode        whether the plugin routes, or only decides
    slo, …      what a request must keep, and the rule that picks among the deployments that keep it
    rescue      what happens to a request whose deployment is silent when its first content is due

The section is read by `config`, with all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from slo_router.contract.model import CATEGORIES
from slo_router.contract.settings.tasks.categorizer import CategorizerSetting, Trained
from slo_router.contract.settings.tasks.own import OwnCategories
from slo_router.contract.settings.validation import NotNegative, Percent, Positive, QualityTable, Share, Strict

CONFIDENCES = (0.5, 0.65, 0.8, 0.9, 0.95, 0.975, 0.99)  # levels in `latency.curve.LEVELS`


class Canary(Strict):
    """The plugin routes a part of the traffic. LiteLLM routes the rest, whose decision is recorded."""

    canary: Percent = Field(description="0.05 or 5%")
    by: Literal["request", "key"] = Field("request", description="draws the part by request, or by virtual key")


def _mode(value: object) -> object:
    """Raises one clear error instead of one for each kind."""
    if isinstance(value, Mapping):
        return Canary.model_validate(value)
    if value not in ("route", "shadow") and not isinstance(value, Canary):
        raise ValueError("`route`, `shadow` or {canary: 5%}")
    return value


ImplicitSignal = Literal["schema_violated", "tool_call_refused", "asked_again"]
Mode = Annotated[Literal["route", "shadow"] | Canary, BeforeValidator(_mode)]


class RescueSettings(Strict):
    """Whether another deployment is asked if the chosen one is silent. `off` is `deadline: false`."""

    deadline: bool = Field(
        default=True,
        strict=True,
        description="no content by a time that hardly an answer of this deployment takes: it is given up for the next",
    )
    hedge: bool = Field(
        default=False,
        strict=True,
        description="earlier, and the first goes on: cannot be done safely on LiteLLM, so `true` is refused",
    )
    budget: Share = Field(0.03, description="further calls, as a share of the requests of all workers")
    min_ms: Positive = Field(300.0, description="nobody is given up sooner, milliseconds")
    max_ms: Positive = Field(120_000.0, description="nor later, where a deadline is known")
    whole_answers: bool = Field(
        default=False, strict=True, description="also answers in one piece, by the time that the longest likely takes"
    )

    @property
    def is_on(self) -> bool:
        """Whether any attempt is ever given up."""
        return self.deadline and self.budget > 0

    @model_validator(mode="after")
    def _can_be_done(self) -> RescueSettings:
        if self.hedge:
            raise ValueError("hedge: false; LiteLLM has no safe way to run a second attempt beside the first")
        if self.min_ms > self.max_ms:
            raise ValueError("min_ms of at most max_ms")
        return self


def _read(value: object) -> object:
    if value is False or value == "off":  # YAML reads `off` as false, and `on` as true
        return {"deadline": False}
    return {} if value in (None, True, "on") else value


Rescue = Annotated[RescueSettings, BeforeValidator(_read)]


class ShadowEvaluationSettings(Strict):
    """Which answers are compared with another deployment's to the same prompts. Without this section none are."""

    judge: str | None = Field(
        None, description="the model group, of this proxy, that says which of two answers is better"
    )
    grader: Literal["schema"] | None = Field(
        None,
        description="what tells by itself: `schema` holds the answers to requests with a JSON schema against it; of two"
        " that keep it the judge says which is better, and without a judge they are as good",
    )
    usd_per_day: NotNegative = Field(
        description="the most that all workers spend on this group's comparisons in a day (UTC), judge included"
    )
    share: Share = Field(0.0, description="of the requests, at most so many are compared; 0: none")
    control_share: Share = Field(
        0.05,
        description="of the comparisons, so many are of two answers of the same deployment: they show the judge's bias",
    )

    @model_validator(mode="after")
    def _somebody_tells(self) -> ShadowEvaluationSettings:
        if self.judge is None and self.grader is None:
            raise ValueError("`judge` (a model group), or `grader: schema`, or both")
        return self


class SloSettings(Strict):
    """The SLO of a group, for fields that request, key and team do not set."""

    ttft_ms: Positive | None = Field(None, description="time to the first token, milliseconds")
    tpot_ms: Positive | None = Field(None, description="time per output token after the first, milliseconds")
    e2e_ms: Positive | None = Field(None, description="time to the last token, milliseconds")
    cost_per_1k: NotNegative | None = Field(None, description="USD per 1,000 tokens, prompt and completion together")


class Weights(Strict):
    """Weights of the `weighted` objective. Only their ratios matter."""

    quality: NotNegative = 0.5
    cost: NotNegative = 0.3
    latency: NotNegative = 0.2

    @model_validator(mode="after")
    def _not_all_zero(self) -> Weights:
        if self.quality + self.cost + self.latency == 0:
            raise ValueError("at least one weight above 0")
        return self


class Target(Strict):
    """What the objective `value` aims at: one of the two."""

    quality_of_best: Annotated[float, Field(gt=0, le=1, strict=True)] | None = Field(
        None, description="the mean quality, as a share of what the one best model would give"
    )
    usd_per_day: Positive | None = Field(None, description="the group's spend from midnight to midnight, UTC")

    @model_validator(mode="after")
    def _one_of_two(self) -> Target:
        if (self.quality_of_best is None) == (self.usd_per_day is None):
            raise ValueError("either quality_of_best or usd_per_day")
        return self


class GroupSettings(Strict):
    """How one group of `model_list` is routed."""

    mode: Mode = Field(
        "route", description="`shadow`: decides and records, LiteLLM routes; `{canary: 5%}`: routes only a part"
    )
    slo: SloSettings = SloSettings()
    min_quality: QualityTable = Field({}, description="one number, or one per category")
    quality_confidence: Annotated[float, Field(ge=0.5, le=0.999, strict=True)] = Field(
        0.9, description="where answers were graded, the probability with which the quality is at least `min_quality`"
    )
    prior_answers: Annotated[float, Field(ge=1, le=10_000, allow_inf_nan=False, strict=True)] = Field(
        20.0, description="graded answers that a typed quality counts as; with fewer, it counts as it stands"
    )
    objective: Literal["cheapest", "weighted", "value"] = "cheapest"
    weights: Weights | None = None
    target: Target | None = None
    categorizer: CategorizerSetting = "rules"
    categories: OwnCategories = Field(
        {}, description="categories of your own, or more words for those that are built in; see below"
    )
    max_error_rate: Share = Field(0.5, description="a deployment with a higher error rate is rejected")
    trial_share: Share = Field(
        0.02,
        description="share of requests that try a cheaper deployment which was never measured, was slow a while ago, "
        "or is rejected only for a benchmark's findings",
    )
    confidence: float = Field(
        0.9, description="the probability with which a deployment must keep the SLO, where live traffic can tell"
    )
    stickiness: bool = Field(
        default=False, strict=True, description="counts the price of leaving a conversation's prefix cache"
    )
    tie_band: Share = Field(0.05, description="costs this close to the lowest count as equal: the earlier finish wins")
    rescue: Rescue = RescueSettings()
    implicit_feedback: list[ImplicitSignal] = Field(
        [], description="weak signals that an answer was bad, which lower its quality: [which](weak-signals.md)"
    )
    shadow_evaluation: ShadowEvaluationSettings | None = None

    @field_validator("confidence")
    @classmethod
    def _is_a_level(cls, value: float) -> float:
        if value not in CONFIDENCES:
            raise ValueError(f"one of {', '.join(map(str, CONFIDENCES))}")
        return value

    @model_validator(mode="after")
    def _weights_need_weighted(self) -> GroupSettings:
        if self.weights is not None and self.objective != "weighted":
            raise ValueError("objective: weighted where weights are given")
        if (self.target is not None) != (self.objective == "value"):
            raise ValueError("a target where the objective is `value`, and no other")
        return self

    @property
    def known_categories(self) -> tuple[str, ...]:
        """Every category that a request of this group can have."""
        return tuple(dict.fromkeys((*CATEGORIES, *self.categories, *(self.trained.names if self.trained else ()))))

    @property
    def trained(self) -> Trained | None:
        """The classifier that the group is to use."""
        return self.categorizer if isinstance(self.categorizer, Trained) else None

    def quality_floor(self, category: str) -> float | None:
        """The minimum quality (0..1) for a category, `None` where there is none."""
        return self.min_quality.get(category, self.min_quality.get("default"))
