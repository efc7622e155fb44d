"""The metrics hash in Redis: what was measured of a deployment in a category.

Other programs write it too, so no value is trusted. A value is dropped and reported if it does not parse, is not
finite, is negative, absurdly large or out of its range, or lies in the future. The rest of the hash is used. A hash
without a usable timestamp is dropped as a whole, for its age is unknown. `latency_fit` reads and writes the fields of a
sweep's latency fit in the same hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from slo_router.contract.model import Metrics
from slo_router.contract.units import CLOCK_SKEW_S, MS_PER_S

SCHEMA_VERSION = 1
MAX_VALUE = 1e12  # impossible in every unit here; sums and products of such values stay finite

_MS_FIELDS = {
    "ttft_ms": "ttft_s",
    "ttft_p50_ms": "ttft_p50_s",
    "ttft_p95_ms": "ttft_p95_s",
    "tpot_ms": "tpot_s",
    "tpot_p95_ms": "tpot_p95_s",
}
_NUMBER_FIELDS = {
    "throughput_tps": "throughput_tps",
    "cost_per_1k": "cost_per_1k_usd",
    "error_rate": "error_rate",
    "quality_score": "quality_score",
    "quality_n": "quality_n",
    "output_tokens_mean": "output_tokens_mean",
    "hidden_tokens_mean": "hidden_tokens_mean",
    "prompt_tokens_mean": "prompt_tokens_mean",
    "samples": "samples",
}
ANSWER_FAULT = "answer_fault"  # why no request of the category may go there, such as `looping 9/10`; absent: no fault
ANSWER_FAULT_MOMENT = "answer_fault_timestamp"  # a run that cannot judge answers leaves fault and timestamp unchanged
_MOMENTS = {
    "error_timestamp": "error_at_s",
    ANSWER_FAULT_MOMENT: "fault_at_s",
    "quality_timestamp": "quality_at_s",
}
QUALITY_HELD = "quality_held"  # `1`: the score dropped; until the agent clears it, every quality floor is failed
_NOT_IN_THE_FUTURE = "Unix seconds that are not in the future"
_RATES = frozenset({"error_rate", "quality_score"})
_COUNTS = frozenset({"quality_n", "samples"})
_FAULT = re.compile(r"[a-z][a-z_]{0,31} [0-9]{1,9}/[0-9]{1,9}")
METRICS_FIELDS = frozenset({"schema", "timestamp", "error_timestamp", *_MS_FIELDS, *_NUMBER_FIELDS})


class BadValue(NamedTuple):
    """A field of a metrics hash that was dropped, and what was expected."""

    field: str
    value: str
    expected: str


def number(raw: str) -> float | None:
    """The value of a field, `None` if it is not a number from 0 to `MAX_VALUE`."""
    try:
        value = float(raw)
    except ValueError:
        return None
    return value if 0 <= value <= MAX_VALUE else None  # NaN fails the comparison


def _moment(raw: str, now_s: float) -> float | None:
    """Unix seconds that are not in the future, else `None`."""
    at_s = number(raw)
    return None if at_s is None or at_s > now_s + CLOCK_SKEW_S else at_s


def _moments(fields: Mapping[str, str], now_s: float, bad: list[BadValue]) -> dict[str, float]:
    """When the parts of a hash that have their own timestamp were measured."""
    found: dict[str, float] = {}
    for name, attribute in _MOMENTS.items():
        raw = fields.get(name)
        at_s = _moment(raw, now_s) if raw else None
        if at_s is not None:
            found[attribute] = at_s
        elif raw:
            bad.append(BadValue(name, raw, _NOT_IN_THE_FUTURE))
    return found


def read_metrics(fields: Mapping[str, str], now_s: float) -> tuple[Metrics | None, list[BadValue]]:
    """The metrics in one hash, and the bad values. `None` where the hash is empty or its timestamp unusable.

    `fields` are text, as in Redis. `now_s` is Unix seconds. Unknown fields are ignored: later versions may add some.
    """
    bad: list[BadValue] = []
    if not fields:
        return None, bad
    stamp = fields.get("timestamp", "")
    measured_at_s = _moment(stamp, now_s)
    if measured_at_s is None:
        bad.append(BadValue("timestamp", stamp, _NOT_IN_THE_FUTURE))
        return None, bad
    values: dict[str, float | int] = {**_moments(fields, now_s, bad)}
    for name, attribute in (_MS_FIELDS | _NUMBER_FIELDS).items():
        raw = fields.get(name)
        if raw is None or raw == "":
            continue
        value = number(raw)
        if value is None or (name in _RATES and value > 1):
            bad.append(
                BadValue(name, raw, "a number in 0..1" if name in _RATES else f"a number from 0 to {MAX_VALUE:g}")
            )
        elif name in _COUNTS:
            values[attribute] = int(value)
        else:
            values[attribute] = value / MS_PER_S if name in _MS_FIELDS else value
    fault = fields.get(ANSWER_FAULT) or None
    if fault is not None and not _FAULT.fullmatch(fault):
        bad.append(BadValue(ANSWER_FAULT, fault, "a fault and how many of how many answers had it"))
        fault = None
    held = fields.get(QUALITY_HELD) or "0"
    if held not in {"0", "1"}:
        bad.append(BadValue(QUALITY_HELD, held, "1 or nothing"))
    # counts are ints, see above
    return Metrics(measured_at_s, quality_held=held == "1", answer_fault=fault, **values), bad  # type: ignore[arg-type]


def write_metrics(metrics: Metrics) -> dict[str, str]:
    """The hash fields of one measurement. Unmeasured fields are left out, so a reader finds `None`."""
    fields = {"schema": str(SCHEMA_VERSION), "timestamp": f"{metrics.measured_at_s:.3f}"}
    for name, attribute in _MS_FIELDS.items():
        value = getattr(metrics, attribute)
        if value is not None:
            fields[name] = f"{value * MS_PER_S:.6g}"
    for name, attribute in _NUMBER_FIELDS.items():
        value = getattr(metrics, attribute)
        if value is not None:
            fields[name] = str(value) if name in _COUNTS else f"{value:.9g}"
    for name, attribute in _MOMENTS.items():
        value = getattr(metrics, attribute)
        if value is not None:
            fields[name] = f"{value:.3f}"
    if metrics.answer_fault is not None:
        fields[ANSWER_FAULT] = metrics.answer_fault
    if metrics.quality_held:
        fields[QUALITY_HELD] = "1"
    return fields
