"""A sweep's latency fit as fields of the metrics hash, named `fit_…`: milliseconds in the hash, seconds in the code.

    TTFT = fit_a_ms + fit_b_ms · prompt tokens + fit_c_ms · in flight + fit_k_ms · max(0, in flight − fit_knee)
    TPOT = fit_d_ms + fit_e_ms · in flight

The fit does not depend on the task, so the hash of every category holds the same. Where one field is missing or
impossible, the whole fit is dropped. A fit by which an answer takes no time is dropped too, for it would draw all
traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

from slo_router.contract.metrics_hash import MAX_VALUE, BadValue, number
from slo_router.contract.model import KNEES, LatencyFit
from slo_router.contract.units import CLOCK_SKEW_S, MS_PER_S

MAX_FIT_S = 3_600.0  # a coefficient beyond an hour is absurd
MAX_RATIO = 50.0
_COEFFICIENTS = {
    "fit_a_ms": "a_s",
    "fit_b_ms": "b_s_per_token",
    "fit_c_ms": "c_s_per_request",
    "fit_k_ms": "k_s_per_request",
    "fit_d_ms": "d_s",
    "fit_e_ms": "e_s_per_request",
}
_NUMBERS = {
    f"fit_{name}": name for name in LatencyFit._fields if not name.endswith(("_s", "_per_token", "_per_request"))
}
_STAMP = "fit_timestamp"
FIT_FIELDS = frozenset({_STAMP, *_COEFFICIENTS, *_NUMBERS})


def read_fit(fields: Mapping[str, str], now_s: float) -> tuple[LatencyFit | None, list[BadValue]]:
    """The fit in a metrics hash, or `None`, and the bad values. `now_s` is Unix seconds."""
    if FIT_FIELDS.isdisjoint(fields):
        return None, []
    bad: list[BadValue] = []
    values: dict[str, float] = {}
    for name in sorted(FIT_FIELDS):
        raw = fields.get(name, "")
        value, (low, high) = number(raw), _limits(name, now_s)
        if value is None or not low <= value <= high:
            bad.append(BadValue(name, raw, f"a number from {low:.15g} to {high:.15g}"))
        elif name in _COEFFICIENTS:
            values[_COEFFICIENTS[name]] = value / MS_PER_S
        else:
            values["measured_at_s" if name == _STAMP else _NUMBERS[name]] = value
    if bad:
        return None, bad
    fit = LatencyFit(**values)._replace(samples=int(values["samples"]))  # type: ignore[arg-type]  # set right after
    if fit.d_s <= 0 or fit.a_s + fit.b_s_per_token * fit.tokens_max <= 0:
        return None, [BadValue("fit_a_ms", fields["fit_a_ms"], "a fit by which an answer takes time")]
    return fit, []


def write_fit(fit: LatencyFit) -> dict[str, str]:
    """The hash fields of a fit."""
    fields = {name: f"{getattr(fit, attribute) * MS_PER_S:.9g}" for name, attribute in _COEFFICIENTS.items()}
    fields |= {name: f"{getattr(fit, attribute):.9g}" for name, attribute in _NUMBERS.items()}
    return fields | {_STAMP: f"{fit.measured_at_s:.3f}"}


def _limits(name: str, now_s: float) -> tuple[float, float]:
    """The lowest and the highest possible value of a field."""
    if name in _COEFFICIENTS:
        return 0.0, MAX_FIT_S * MS_PER_S
    if name == _STAMP:
        return 0.0, now_s + CLOCK_SKEW_S  # not in the future
    if name.endswith("_ratio"):
        return 1.0, MAX_RATIO
    if name.endswith("_r2"):
        return 0.0, 1.0
    return 0.0, KNEES[-1] if name == "fit_knee" else MAX_VALUE
