"""Learns from reported usage how long prompts and answers really are, by category.

Exponentially weighted means: reported ÷ estimated prompt tokens of text and of tools, tokens of an image, and
completion tokens, those also by model, for one model writes twenty times as much as another. What tools or an image
take is told by the whole prompt, so it counts by its share of that: beside a long text it says little. Each worker
learns for itself, and how long models write from the others too; the priors in `features` hold until then. An answer of
exactly `reserved_tokens` was cut short by the client's max_tokens, or is just as long as expected where the client set
none. It counts where it is longer than what is expected: it would have been longer still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from slo_router.contract.model import Features
from slo_router.request.features import OUTPUT_TOKENS, OUTPUT_TOKENS_ELSE, Learned

STEP = 0.05  # a category's last 20 requests carry two thirds of the weight
FACTOR_BOUNDS = (0.2, 5.0)  # a server that reports nonsense must not make every context window look full
IMAGE_BOUNDS = (20.0, 5_000.0)
LONGEST_ANSWER = 100_000  # likewise
MOST_MODELS = 1_000  # in a category, those that are gone among them
PRIOR_ANSWERS = 2  # what the prior of a model's length counts as: a first answer moves it by a third

Number = TypeVar("Number", int, float)


class Length(NamedTuple):
    """How long an answer of a model was, and the room that was kept for it."""

    category: str
    model: str
    tokens: int
    reserved_tokens: int


def learn(
    learned: Learned,
    features: Features,
    model: str,
    prompt_tokens: int | None,
    completion_tokens: int | None,
) -> Learned:
    """What is known after one more request, which a deployment of `model` answered."""
    category = features.category
    if completion_tokens and completion_tokens > 0:
        completion_tokens = max(round(completion_tokens / features.choices), 1)
    factors, outputs = learned.prompt_factor, learned.output_tokens
    tool_factor, image_tokens = learned.tool_factor, learned.image_tokens
    if prompt_tokens and features.text_tokens and not features.files:  # what a file takes depends on its pages
        surplus = (prompt_tokens - features.prompt_tokens) / features.prompt_tokens
        if features.tool_tokens and not features.images:
            tool_factor = _within(tool_factor * (1 + STEP * surplus), FACTOR_BOUNDS)
        elif features.images and not features.tool_tokens:
            image_tokens = _within(image_tokens * (1 + STEP * surplus), IMAGE_BOUNDS)
        elif not features.tool_tokens:
            after = factors.get(category, 1.0) * (1 + STEP * surplus)
            factors = {**factors, category: _within(after, FACTOR_BOUNDS)}
    if completion_tokens and completion_tokens > 0 and completion_tokens != features.reserved_tokens:
        before = outputs.get(category, OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE))
        outputs = {**outputs, category: before + STEP * (min(completion_tokens, LONGEST_ANSWER) - before)}
    learned = replace(
        learned, prompt_factor=factors, output_tokens=outputs, tool_factor=tool_factor, image_tokens=image_tokens
    )
    if not completion_tokens or completion_tokens <= 0:
        return learned
    return learn_length(learned, Length(category, model, completion_tokens, features.reserved_tokens))


def learn_length(learned: Learned, said: Length) -> Learned:
    """What is known after one more answer, of this worker's or of another's."""
    category, model, tokens, reserved_tokens = said
    own, counts = learned.lengths.get(category, {}), learned.answers.get(category, {})
    known, count = own.get(model), counts.get(model, 0)
    before = learned.unknown_length(category) if known is None else known
    if tokens == reserved_tokens and tokens <= before:
        return learned
    step = max(STEP, 1 / (count + 1 + PRIOR_ANSWERS))
    after = before + step * (min(tokens, LONGEST_ANSWER) - before)
    return replace(
        learned,
        lengths={**learned.lengths, category: _latest(own, model, after)},
        answers={**learned.answers, category: _latest(counts, model, count + 1)},
    )


def _latest(known: Mapping[str, Number], model: str, value: Number) -> dict[str, Number]:
    """With one more, the latest last. Of too many the one that answered longest ago is forgotten."""
    kept = {name: kept for name, kept in known.items() if name != model}
    if len(kept) >= MOST_MODELS:
        del kept[next(iter(kept))]
    return {**kept, model: value}


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
