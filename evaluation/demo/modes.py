"""The three kinds of endpoints that the demo knows, in words, and what can be asked of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.demo.scenario import FULL, LIGHT, Load


@dataclass(frozen=True, slots=True)
class Mode:
    """The endpoints in words, the load that they take, and the options with which `slo-bench` measures them."""

    what: str
    load: Load
    benchmark: Sequence[str]
    via_proxy: bool = False  # `slo-bench` asks through the proxy, which knows every provider


EMULATED = Mode(
    "Emulated: HTTP, streaming and queues are real, but no model writes the text. Latencies follow a formula, "
    "qualities are assumed, prices are Together AI's for Qwen2.5 7B, 14B and 72B.",
    FULL,
    ("--requests", "8", "--parallel"),
)
REAL = Mode(
    "Real, but tiny: SmolLM2-135M in two quantizations, each in llama.cpp's own server on this machine's CPU. "
    "Latencies are measured, qualities and prices are assumed.",
    LIGHT,
    ("--requests", "3", "--concurrency", "1"),
)
OWN = Mode(
    "Yours: latencies are measured, qualities and prices are what your file says. The benchmark sends each endpoint 16 "
    "short requests, about 35 more follow; a provider will charge for them.",
    LIGHT,
    ("--requests", "3", "--concurrency", "2", "--timeout-s", "30", "--max-minutes", "1.5"),
    via_proxy=True,
)
