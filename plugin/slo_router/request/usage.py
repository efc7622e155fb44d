"""Learns from reported usage how long prompts really are, by category.

Exponentially weighted means: reported ÷ estimated prompt tokens of text and of tools, and tokens of an image. What
tools or an image take is told by the whole prompt, so it counts by its share of that: beside a long text it says
little. Each worker learns for itself; the priors in `features` hold until then.
"""

from __future__ import annotations

from dataclasses import replace

from slo_router.contract.model import Features
from slo_router.request.features import Learned

STEP = 0.05  # a category's last 20 requests carry two thirds of the weight
FACTOR_BOUNDS = (0.2, 5.0)  # a server that reports nonsense must not make every context window look full
IMAGE_BOUNDS = (20.0, 5_000.0)


def learn(learned: Learned, features: Features, prompt_tokens: int | None) -> Learned:
    """What is known after one more request."""
    if not prompt_tokens or not features.text_tokens or features.files:  # what a file takes depends on its pages
        return learned
    surplus = (prompt_tokens - features.prompt_tokens) / features.prompt_tokens
    if features.tool_tokens and features.images:
        return learned
    if features.tool_tokens:
        return replace(learned, tool_factor=_within(learned.tool_factor * (1 + STEP * surplus), FACTOR_BOUNDS))
    if features.images:
        return replace(learned, image_tokens=_within(learned.image_tokens * (1 + STEP * surplus), IMAGE_BOUNDS))
    after = learned.prompt_factor.get(features.category, 1.0) * (1 + STEP * surplus)
    factors = {**learned.prompt_factor, features.category: _within(after, FACTOR_BOUNDS)}
    return replace(learned, prompt_factor=factors)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
