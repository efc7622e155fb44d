"""Learns the real length of prompts from reported usage, by category.

It keeps exponentially weighted means: reported ÷ estimated tokens of text and of tools, and tokens per image. Servers
report only the whole prompt. So the error is taken relative to the whole prompt: beside a long text, tools and images
change little. One report changes an estimate by a twentieth at most: a server may have added what nobody here saw, such
as the pages that it searched. Each worker learns alone and starts from priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from slo_router.contract.model import Features

TOKENS_PER_IMAGE = 1_000

STEP = 0.05  # a category's last 20 requests have two thirds of the weight
MOST_SURPLUS = 1.0  # a report counts as above the estimate by this × the estimate at most
FACTOR_BOUNDS = (0.2, 5.0)  # a server that reports nonsense must not make every context window look full
IMAGE_BOUNDS = (20.0, 5_000.0)
UNCOUNTED = frozenset({"audio", "pdf", "video"})  # their tokens depend on seconds and pages


@dataclass(frozen=True, slots=True)
class Learned:
    """What this worker learned from the prompt tokens that servers report. Starts from the priors."""

    prompt_factor: Mapping[str, float] = field(default_factory=dict)  # by category: reported ÷ estimated tokens
    tool_factor: float = 1.0  # reported ÷ estimated tokens of tools
    image_tokens: float = TOKENS_PER_IMAGE


def scale(learned: Learned, category: str, *, tools: float, images: int) -> float:
    """What is learned of such a request: tokens per image, or the factor of its tools, else that of its text."""
    if tools:
        return learned.tool_factor
    return learned.image_tokens if images else learned.prompt_factor.get(category, 1.0)


def learn(learned: Learned, features: Features, prompt_tokens: int | None) -> Learned:
    """What is known after one more request, whose server reported `prompt_tokens`.

    The error is that of the estimate as it would be made now: requests that were sent at once tell the same error.
    """
    if not prompt_tokens or not features.text_tokens or not features.needs.isdisjoint(UNCOUNTED):
        return learned
    if features.tool_tokens and features.images:
        return learned
    now = scale(learned, features.category, tools=features.tool_tokens, images=features.images)
    part = features.tool_tokens or features.images * features.learned or features.text_tokens
    estimate = features.prompt_tokens + part * (now / features.learned - 1)
    after = now * (1 + STEP * min((prompt_tokens - estimate) / estimate, MOST_SURPLUS))
    if features.tool_tokens:
        return replace(learned, tool_factor=_within(after, FACTOR_BOUNDS))
    if features.images:
        return replace(learned, image_tokens=_within(after, IMAGE_BOUNDS))
    factors = {**learned.prompt_factor, features.category: _within(after, FACTOR_BOUNDS)}
    return replace(learned, prompt_factor=factors)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
