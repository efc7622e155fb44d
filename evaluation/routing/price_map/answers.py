"""Random answers, and LiteLLM's form of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import litellm
from litellm.types.utils import CacheCreationTokenDetails, CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper

from slo_router.contract.model import EMPTY


class Asked(NamedTuple):
    """What one answer used. The tokens of each kind are part of the prompt's or the answer's tokens."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    kinds: Mapping[str, int] = EMPTY  # type: ignore[assignment]  # of no items
    seconds: float = 0.0

    @property
    def is_text(self) -> bool:
        """Whether only plain and cached text is billed."""
        return not self.kinds


def usages(rng: random.Random, bounds: Sequence[int], count: int) -> list[Asked]:
    """Random usages. Some prompts lie just below, at and above each bound."""
    return [_usage(rng, bounds, is_plain=number % 4 == 0) for number in range(count)]


def _usage(rng: random.Random, bounds: Sequence[int], *, is_plain: bool) -> Asked:
    prompt = rng.choice([rng.randint(10, 4_000), rng.randint(4_000, 120_000), rng.randint(120_000, 900_000)])
    if bounds and rng.random() < 0.5:
        prompt = max(rng.choice(bounds) + rng.choice([-1, 0, 1, rng.randint(-5_000, 50_000)]), 10)
    output = rng.randint(1, 20_000)
    left, cached = prompt - 1, 0
    if rng.random() < 0.5:
        cached = rng.randint(0, left)
        left -= cached
    kinds: dict[str, int] = {}
    for kind in () if is_plain else ("written", "written_1h", "audio", "image"):
        if rng.random() < 0.4:
            kinds[kind] = rng.randint(0, left)
            left -= kinds[kind]
    left = output - 1
    for kind in () if is_plain else ("reasoning", "answer_audio", "answer_image"):
        if rng.random() < 0.4:
            kinds[kind] = rng.randint(0, left)
            left -= kinds[kind]
    return Asked(prompt, output, cached, {kind: n for kind, n in kinds.items() if n}, rng.uniform(0.1, 60))


def response_of(model: str, asked: Asked) -> litellm.ModelResponse:
    """An answer in LiteLLM's form, as after reading a provider's answer."""
    kinds = asked.kinds
    written, written_1h = kinds.get("written", 0), kinds.get("written_1h", 0)
    prompt = PromptTokensDetailsWrapper(
        cached_tokens=asked.cached_tokens or None,
        audio_tokens=kinds.get("audio"),
        image_tokens=kinds.get("image"),
        **_written(written, written_1h),
    )
    answer = CompletionTokensDetailsWrapper(
        reasoning_tokens=kinds.get("reasoning"),
        audio_tokens=kinds.get("answer_audio"),
        image_tokens=kinds.get("answer_image"),
    )
    usage = litellm.Usage(
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=asked.output_tokens,
        total_tokens=asked.prompt_tokens + asked.output_tokens,
        prompt_tokens_details=prompt,
        completion_tokens_details=answer,
    )
    made = litellm.ModelResponse(model=model, usage=usage, choices=[{"message": {"content": "x"}}])
    made._response_ms = asked.seconds * 1_000  # noqa: SLF001  # where LiteLLM keeps it
    return made


def _written(written: int, written_1h: int) -> dict[str, Any]:
    if not written + written_1h:
        return {}
    details = CacheCreationTokenDetails(ephemeral_5m_input_tokens=written, ephemeral_1h_input_tokens=written_1h)
    return {"cache_creation_tokens": written + written_1h, "cache_creation_token_details": details}
