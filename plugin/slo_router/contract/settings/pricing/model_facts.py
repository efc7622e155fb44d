"""Reads and checks the prices and context windows of one deployment.

`litellm_params` wins, then `model_info`, then the price map. In the price map a window of 0 is unknown. So are prices
that are all 0: the map has them also for models whose price is unknown. A configured price per token voids the map's
tiers. A configured price per second voids the map's prices per token, for LiteLLM bills only by the second then. Where
`litellm_params` set a service tier, its prices replace the standard ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypedDict

from slo_router.contract.model import Tier

_STEP = re.compile(r"(?:(?:in|out)put_cost_per_token|cache_read_input_token_cost)_above_(\d+)(k?)_tokens(_[a-z]+)?")
_BASE = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
_PER_SECOND = ("cost_per_second", "input_cost_per_second", "output_cost_per_second")  # in LiteLLM's order
_OF_TEXT = ("input_cost_per_token", "output_cost_per_token", "input_cost_per_request", "tiered_pricing", *_PER_SECOND)
_TIERS = ("flex", "priority", "balanced", "ultrafast")
_PRICED_AS = {"fast": "priority"}  # service tiers whose prices are listed under another tier's name


class Numbers(TypedDict):
    """The fields of `Facts` that are numbers."""

    context_tokens: int | None
    max_output_tokens: int | None
    input_usd_per_token: float | None
    output_usd_per_token: float | None
    cached_usd_per_token: float | None
    tiers: tuple[Tier, ...]
    usd_per_second: float | None
    usd_per_request: float | None


class Stated:
    """The stated prices and windows of a deployment. Appends each fault as a line to `faults`."""

    def __init__(
        self,
        params: Mapping[str, object],
        info: Mapping[str, object],
        listed: Mapping[str, object],
        path: str,
        faults: list[str],
    ) -> None:
        said = {name: _listed(name, value) for name, value in listed.items() if value or not name.endswith("_tokens")}
        if not has_price(listed):
            said = {name: value for name, value in said.items() if "cost" not in name}
        own = {**_present(info), **_present(params)}
        is_priced = any(own.get(name) is not None for name in _BASE[:2])
        if not is_priced and any(own.get(name) is not None for name in _PER_SECOND):
            said = {name: value for name, value in said.items() if "_cost_per_" not in name and name not in _BASE}
        if is_priced:
            said = {name: value for name, value in said.items() if "_above_" not in name and name != "tiered_pricing"}
        self._known = {**said, **own}
        asked = str(params.get("service_tier") or "").lower()
        self._suffix = f"_{_PRICED_AS.get(asked, asked)}" if asked else ""
        self._given, self._path, self._faults = (params, info, listed), path, faults

    def in_tier(self, tier: str) -> Stated:
        """The same for a request that names this service tier. Its faults are not reported."""
        params, info, listed = self._given
        return Stated({**params, "service_tier": tier}, info, listed, self._path, [])

    def value(self, name: str) -> object:
        """The stated value of a name, or `None`."""
        return self._known.get(name)

    def tiers(self) -> frozenset[str]:
        """The service tiers that have their own price."""
        prefix = _BASE[0] + "_"
        return frozenset(tier for tier in _TIERS if self._known.get(prefix + tier) is not None)

    def facts(self) -> Numbers:
        """The numbers: tokens and USD. A tiered listing without a flat price gets the price of its first tier."""
        first, tiers = self._tiers()
        base = [self._price(name) for name in _BASE]
        if base[0] is None and first is not None:
            base = [first.input_usd, first.output_usd, first.cached_usd]
        has_price = base[0] is not None and base[1] is not None
        per_second = next((price for name in _PER_SECOND if (price := self._rate(name)) is not None), None)
        return Numbers(
            context_tokens=self._whole("max_input_tokens"),
            max_output_tokens=self._whole("max_output_tokens"),
            input_usd_per_token=base[0],
            output_usd_per_token=base[1],
            cached_usd_per_token=base[2],
            tiers=tiers,
            usd_per_second=None if has_price else per_second,
            usd_per_request=self._rate("input_cost_per_request"),
        )

    def _tiers(self) -> tuple[Tier | None, tuple[Tier, ...]]:
        """The prices from the first token on (if only tiers are listed), and the tiers above, ascending."""
        ranges = self._known.get("tiered_pricing")
        if isinstance(ranges, list):
            found = sorted(filter(None, map(self._range, ranges)))
            below = next((tier for tier in found if tier.above_tokens == 0), None)
            return below, tuple(tier for tier in found if tier.above_tokens > 0)
        bounds = {
            match[1] + match[2]
            for name in self._known
            if (match := _STEP.fullmatch(name)) and (match[3] or "") in ("", self._suffix)
        }
        tiers = (self._tier(bound) for bound in bounds)
        return None, tuple(sorted(tier for tier in tiers if tier is not None))

    def _tier(self, bound: str) -> Tier | None:
        """The prices above a bound such as `200k`. A price that the tier does not set is the one below it."""
        above = int(bound.rstrip("k")) * (1_000 if bound.endswith("k") else 1)
        found = []
        for name in _BASE:
            tiered = self._price(f"{name}_above_{bound}_tokens")
            found.append(self._price(name) if tiered is None else tiered)
        input_usd, output_usd, cached_usd = found
        return None if input_usd is None or output_usd is None else Tier(above, input_usd, output_usd, cached_usd)

    def _range(self, entry: object) -> Tier | None:
        bounds = entry.get("range") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(bounds, list) or not bounds:
            return None
        input_usd, output_usd, cached_usd = (_number(entry.get(name)) for name in _BASE)
        above = _number(bounds[0])
        if input_usd is None or output_usd is None or above is None:
            return None
        return Tier(int(above), input_usd, output_usd, cached_usd)

    def _price(self, name: str) -> float | None:
        in_tier = f"{name}{self._suffix}"
        name = name if self._known.get(in_tier) is None else in_tier
        value = self._known.get(name)
        price = _number(value)
        if value is None or (price is not None and 0 <= price < 1):
            return price
        expected = "USD per token, such as 1.0e-7" if price is None else "USD per token between 0 and 1"
        self._fault(f"{self._path}.litellm_params.{name}: {_shown(value)}, expected {expected}")
        return None

    def _rate(self, name: str) -> float | None:
        value = self._known.get(name)
        rate = _number(value)
        if value is None or (rate is not None and rate >= 0):
            return rate
        self._fault(f"{self._path}.litellm_params.{name}: {_shown(value)}, expected USD, 0 or more")
        return None

    def _whole(self, name: str) -> int | None:
        value = self._known.get(name)
        number = None if isinstance(value, bool) else _number(value)
        if value is None:
            return None
        if number is None or number <= 0 or number != int(number) or isinstance(value, float):
            self._fault(f"{self._path}.model_info.{name}: {_shown(value)}, expected a whole number of tokens above 0")
            return None
        return int(number)

    def _fault(self, line: str) -> None:
        if line not in self._faults:
            self._faults.append(line)


def has_price(listed: Mapping[str, object]) -> bool:
    """Whether a listing has a price above 0 for text tokens, requests or seconds; 0 may mean that it is unknown."""
    prices = (value for name, value in listed.items() if name.startswith(_OF_TEXT))
    return any(isinstance(price, list) or (_number(price) or 0.0) > 0 for price in prices)


def _listed(name: str, value: object) -> object:
    """A value of the price map. Windows may be written as floats, such as 2e6."""
    return int(value) if name.endswith("_tokens") and isinstance(value, float) and value.is_integer() else value


def read_flag(value: object) -> object:
    """A YAML boolean, also from text; any other value unchanged."""
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def read_limit(places: Iterable[Mapping[str, object]], name: str) -> float | None:
    """The limit from the first place that sets it, `None` if not a number above 0. The price map has no limits."""
    stated = (place.get(name) for place in places)
    number = _number(next((value for value in stated if value is not None), None))
    return number if number is not None and number > 0 else None


def _number(value: object) -> float | None:
    """A finite number, also from text; `None` for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]  # YAML reads 1e-7 as text; LiteLLM takes both
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number - number == 0 else None


def _shown(value: object) -> str:
    if isinstance(value, str) and value.startswith("os.environ/"):
        return f"{value!r}, which is not set here"
    return repr(value)


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
