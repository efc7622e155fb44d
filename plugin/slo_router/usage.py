"""Learns from reported usage how long prompts and answers really are, by category.

Two exponentially weighted means: reported ÷ estimated prompt tokens, and completion tokens. Each worker learns for
itself; the priors in `features` hold until then. An answer of exactly `reserved_tokens` was cut short by the client's
max_tokens, or is just as long as expected where the client set none: either way it says nothing, and is left out.
"""

from __future__ import annotations

from slo_router.domain import Features
from slo_router.features import OUTPUT_TOKENS, OUTPUT_TOKENS_ELSE, Learned

STEP = 0.05  # a category's last 20 requests carry two thirds of the weight
FACTOR_BOUNDS = (0.2, 5.0)  # a server that reports nonsense must not make every context window look full
LONGEST_ANSWER = 100_000  # likewise


def learn(learned: Learned, features: Features, prompt_tokens: int | None, completion_tokens: int | None) -> Learned:
    """What is known after one more request."""
    category = features.category
    factors, outputs = learned.prompt_factor, learned.output_tokens
    if prompt_tokens and features.prompt_tokens:
        before = factors.get(category, 1.0)
        after = before * (1 + STEP * (prompt_tokens / features.prompt_tokens - 1))
        factors = {**factors, category: min(max(after, FACTOR_BOUNDS[0]), FACTOR_BOUNDS[1])}
    if completion_tokens and completion_tokens > 0 and completion_tokens != features.reserved_tokens:
        before = outputs.get(category, OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE))
        outputs = {**outputs, category: before + STEP * (min(completion_tokens, LONGEST_ANSWER) - before)}
    return Learned(factors, outputs)
