"""The budget in USD: what a request costs, its highest cost before it is sent, and what a run has spent.

    cost        prompt tokens × input price + completion tokens × output price; cached prompt tokens at their own price
    highest     every byte of the prompt counts as a token (no tokenizer makes more), and all of `max_tokens`
    spent       finished requests, by their usage, and GPU time until now
    reserved    requests in flight, each at its highest cost, and for each GPU the time of one more request

A request is sent only if spent + reserved + its highest cost is within the limit, so the limit is never passed. A
request without usage counts at its highest cost. A request that was refused or did not reach the server is free. A GPU
that is paid by the hour costs nothing per request: its hours count. `None` is an unknown price. `uncounted` names the
deployments that were measured without one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from slo_bench.errors import StoppedError
from slo_bench.measure.stream import CONNECTION, Sample
from slo_bench.prompts.workload import Prompt
from slo_router.contract.model import Facts
from slo_router.contract.prices import cost_usd

SECONDS_PER_HOUR = 3_600
TEMPLATE_TOKENS = 32  # per message, with the salt
PART_TOKENS = 2_000  # an image or another part that is no text


def is_priced(facts: Facts) -> bool:
    """Whether the deployment's price is known."""
    by_token = facts.input_usd_per_token is not None and facts.output_usd_per_token is not None
    return by_token or facts.gpu_usd_per_hour is not None


def request_usd(facts: Facts, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0) -> float | None:
    """USD of one request of this size; 0 where the GPU is paid by the hour."""
    if facts.gpu_usd_per_hour is not None:
        return 0.0
    return cost_usd(facts, prompt_tokens, completion_tokens, min(cached_tokens, prompt_tokens))


def most_usd(facts: Facts, prompt: Prompt) -> float | None:
    """The highest USD that a request can cost; `None` without a price."""
    return request_usd(
        facts, prompt_bytes(prompt, PART_TOKENS) + TEMPLATE_TOKENS * len(prompt.messages), prompt.max_tokens
    )


def charged_usd(facts: Facts, prompt: Prompt, sample: Sample) -> float | None:
    """USD that are counted for a finished request; `None` without a price."""
    if sample.prompt_tokens is not None and sample.completion_tokens is not None:
        return request_usd(facts, sample.prompt_tokens, sample.completion_tokens, sample.cached_tokens or 0)
    error = sample.error
    if error is not None and (error == CONNECTION or error.startswith("http_")):
        return 0.0 if is_priced(facts) else None
    return most_usd(facts, prompt)


def prompt_bytes(prompt: Prompt, part_bytes: int) -> int:
    """Bytes of UTF-8 in a prompt's texts, tools and schema; each part that is no text counts `part_bytes`."""
    extra = [prompt.tools, prompt.response_format, *(message.get("tool_calls") for message in prompt.messages)]
    forms = sum(len(json.dumps(one)) for one in extra if one)
    return forms + sum(_bytes(message.get("content"), part_bytes) for message in prompt.messages)


def _bytes(content: object, part_bytes: int) -> int:
    if isinstance(content, str):
        return len(content.encode())
    parts = content if isinstance(content, list) else []
    return sum(_bytes(part["text"], part_bytes) if "text" in part else part_bytes for part in parts)


Clock = Callable[[], float]  # seconds


class _Gpu(NamedTuple):
    usd_per_s: float
    clock: Clock
    since_s: float

    def usd(self) -> float:
        return self.usd_per_s * (self.clock() - self.since_s)


class Budget:
    """The budget of one run. `limit_usd` is `None` for no limit. A request takes at most `longest_s` seconds."""

    def __init__(self, limit_usd: float | None, longest_s: float) -> None:
        self.limit_usd = limit_usd
        self.uncounted: set[str] = set()
        self._longest_s = longest_s
        self._ended_usd = 0.0
        self._reserved_usd = 0.0
        self._gpus: dict[str, _Gpu] = {}

    @property
    def spent_usd(self) -> float:
        """USD spent until now."""
        return self._ended_usd + sum(gpu.usd() for gpu in self._gpus.values())

    def reserve(self, most_usd: float | None, deployment_id: str) -> None:
        """Reserves a request's highest cost before it is sent. Raises StoppedError if it could pass the limit."""
        if most_usd is None:
            self.uncounted.add(deployment_id)
            return
        spent_usd = self.spent_usd
        reserved_usd = self._reserved_usd + sum(gpu.usd_per_s * self._longest_s for gpu in self._gpus.values())
        if self.limit_usd is not None and spent_usd + reserved_usd + most_usd > self.limit_usd:
            raise StoppedError(
                f"the budget is used up: of {self.limit_usd:g} USD {spent_usd:.4g} are spent, {reserved_usd:.4g} are "
                f"reserved for requests under way, and the next one may cost {most_usd:.4g}"
            )
        self._reserved_usd += most_usd

    def settle(self, most_usd: float | None, charged_usd: float | None) -> None:
        """Counts a finished request. `most_usd` was reserved for it."""
        self._reserved_usd -= most_usd or 0.0
        self._ended_usd += charged_usd or 0.0

    def gpu_began(self, deployment_id: str, usd_per_hour: float, clock: Clock) -> None:
        """Starts counting the deployment's GPU time, by `clock` (seconds)."""
        self._gpus[deployment_id] = _Gpu(usd_per_hour / SECONDS_PER_HOUR, clock, clock())

    def gpu_ended(self, deployment_id: str) -> None:
        """Stops counting the deployment's GPU time."""
        if deployment_id in self._gpus:
            self._ended_usd += self._gpus.pop(deployment_id).usd()
