"""What an emulated endpoint is like, and which requests exceed its rate limit."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from .faults import FaultKind, NonNegative, Positive


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EndpointSpec:
    """One emulated endpoint: its name, size and speed.

    Without load, a request of p prompt tokens gets its first token after ttft_ms + p * prefill_us_per_token and then a
    token every tpot_ms. Each further running request adds the share tpot_growth to tpot_ms.

    Raises:
        pydantic.ValidationError: a field is unknown, missing or out of range.
    """

    name: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: any free port
    ttft_ms: NonNegative = 40.0
    prefill_us_per_token: NonNegative = 20.0
    tpot_ms: NonNegative = 4.0
    tpot_growth: NonNegative = 0.05
    slots: Positive = 4
    context_tokens: Positive = 8192
    output_tokens: Positive = 48  # mean; a prompt's answer has 0.5 to 1.5 times as many
    output_sigma: NonNegative = 0.0  # above 0: lengths are log-normal with this sigma, some very long
    thought_tokens: Annotated[int, Field(ge=0)] = 0  # mean of the hidden reasoning before the first token, see THINKING
    cache_tokens: Annotated[int, Field(ge=0)] = 0  # size of the prefix cache; 0: none. `usage` tells cached tokens
    tokens_per_chunk: Positive = 1  # in a stream; the first token comes alone
    per_minute: Positive | None = None  # requests; HTTP 429 beyond this rate and `burst` at once
    burst: Positive = 10
    per_window: Positive | None = None  # instead: requests in each `window_s`; HTTP 429 beyond
    window_s: Annotated[float, Field(gt=0)] = 60.0
    says_when: bool = True  # a 429 for the rate limit has a Retry-After
    says_left: bool = False  # each answer has x-ratelimit-…-requests headers
    jitter: NonNegative = 0.05  # sigma of the log-normal factor on each latency
    opens_early: bool = True  # the role-only chunk comes at once and not with the first token
    seed: int = 0
    fault: FaultKind = "ok"


def instant(name: str, *, slots: int = 1000, output_tokens: int = 16) -> EndpointSpec:
    """An endpoint that answers at once, for studies that measure the overhead of a proxy."""
    return EndpointSpec(
        name=name, ttft_ms=0, prefill_us_per_token=0, tpot_ms=0, jitter=0, slots=slots, output_tokens=output_tokens
    )


def read_specs(path: Path) -> list[EndpointSpec]:
    """The endpoints that a YAML or JSON file lists, each with the fields of EndpointSpec.

    Raises:
        OSError: the file cannot be read.
        pydantic.ValidationError: an entry is not an EndpointSpec; the message names entry, field and value.
    """
    return TypeAdapter(list[EndpointSpec]).validate_python(yaml.safe_load(path.read_text()))


class Allowance:
    """What the rate limit still lets pass: a token bucket of `burst` requests that fills at the rate `per_minute`, or
    `per_window` requests in each window.
    """

    def __init__(self, spec: EndpointSpec, clock: Callable[[], float] = time.time) -> None:
        self._spec = spec
        self._clock = clock
        self._left, self._at_s = float(spec.per_window or spec.burst), clock()

    def wait_s(self) -> float | None:
        """Counts a request and returns `None` if it may pass. Else returns the seconds until one may."""
        if self.lets_pass():
            self._left -= 1
            return None
        return self._whole_s(1)

    def headers(self) -> dict[str, str]:
        """The rate limit in OpenAI's x-ratelimit-… headers."""
        self.lets_pass()
        limit = self._spec.per_window or self._spec.burst
        said = {"limit": limit, "remaining": int(self._left), "reset": f"{self._whole_s(limit):.3f}s"}
        return {f"x-ratelimit-{name}-requests": str(value) for name, value in said.items()}

    def _whole_s(self, wanted: float) -> float:
        """Seconds until `wanted` requests may pass again."""
        if self._spec.per_window is not None:
            return self._spec.window_s - self._clock() % self._spec.window_s
        return max(wanted - self._left, 0.0) * 60 / (self._spec.per_minute or 1)

    def lets_pass(self) -> bool:
        """Whether a request may pass now."""
        now_s = self._clock()
        if self._spec.per_window is not None:
            if now_s // self._spec.window_s != self._at_s // self._spec.window_s:
                self._left = self._spec.per_window
            self._at_s = now_s
            return self._left >= 1
        if self._spec.per_minute is None:
            return True
        grown = self._left + max(now_s - self._at_s, 0.0) * self._spec.per_minute / 60
        self._left, self._at_s = min(self._spec.burst, grown), now_s
        return self._left >= 1
