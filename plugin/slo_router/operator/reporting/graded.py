"""What a quality rests on, for people: its mean, its bound, and the graded answers behind both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slo_router.operator.commands.terminal import number, span
from slo_router.quality.posterior import Belief


@dataclass(frozen=True, slots=True)
class GradedQuality:
    """The quality (0..1) of a deployment in a category whose answers were graded."""

    mean: float
    bound: float  # what `min_quality` is held against
    bound_confidence: float  # the probability with which the quality is at least that
    answers: dict[str, float]  # as they weigh now, by source
    newest_age_s: float | None
    typed: float | None  # the configured number


def graded_of(belief: Belief, confidence: float, now_s: float) -> GradedQuality:
    """A belief for people; `now_s` is Unix seconds."""
    age_s = None if belief.at_s is None else max(now_s - belief.at_s, 0.0)
    return GradedQuality(belief.mean, belief.bound, confidence, dict(belief.sources), age_s, belief.typed)


def quality_in_words(
    mean: float | None, bound: float | None, answers: Mapping[str, float], at_s: float | None, now_s: float
) -> str:
    """`0.91, at least 0.88 (200 suite, 12 feedback, 3.0 d old)`; without graded answers the mean alone."""
    if mean is None or bound is None or not answers:
        return number(mean, 2)
    age = "" if at_s is None else f", {span(max(now_s - at_s, 0.0))} old"
    said = number(mean, 2) if bound == mean else f"{number(mean, 2)}, at least {number(bound, 2)}"
    return f"{said} ({answers_in_words(answers)}{age})"


def answers_in_words(answers: Mapping[str, float]) -> str:
    """`200 suite, 12 feedback, 3 weak implicit`."""
    return ", ".join(f"{count:,.0f} {source.replace('_', ' ')}" for source, count in answers.items())
