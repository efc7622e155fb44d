"""One run of one deployment in one category, as the history keeps it: figures and scores, never text.

The names of `figures` have their unit (`ttft_p50_s`, `cost_per_1k_usd`, `quality_score`). So do their 95 % bounds
(`ttft_p50_s_low`, `ttft_p50_s_high`). Unmeasured figures are left out. Item scores of different suites (`fingerprint`)
are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

import msgspec

QUALITY = "quality_score"  # the figure of a quality run
Record = TypeVar("Record")
Kind: TypeAlias = Literal["latency", "quality"]
GateVerdict: TypeAlias = Literal["first", "good", "better", "regressed", "accepted"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One run's results at `at_s` (Unix seconds). `n` counts answers. An item's score is the mean of its answers."""

    kind: Kind
    at_s: float
    deployment: str
    model: str
    category: str
    n: int
    figures: Mapping[str, float]
    fingerprint: str  # of the suite or workload with its parameters
    agent_version: str
    scores: Mapping[str, float] = field(default_factory=dict)  # item id → 0..1, of a quality run
    verdict: GateVerdict | None = None  # the gate's, of a quality run


def encode(entry: Entry) -> str:
    """JSON on one line. Raises ValueError where a number is not finite."""
    numbers = [entry.at_s, *entry.figures.values(), *entry.scores.values()]
    if any(number - number != 0 for number in numbers):  # NaN and infinities
        raise ValueError(f"entry of {entry.deployment} {entry.category}: expected finite numbers")
    return msgspec.json.encode(entry).decode()


def decoded(text: object, kind: type[Record]) -> Record | None:
    """A record from its JSON; `None` for anything else. Fields of a later version are ignored."""
    try:
        return msgspec.json.decode(str(text), type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
