"""A request's SLO: where it may be set, and which value counts.

Each field is resolved separately. The first source that sets it wins: request header, request body, the virtual key's
metadata, the team's metadata, the group's YAML. Then the `slo_limits` of key and team bound the result. The tighter
bound counts, and a value beyond it is clamped. A field that nobody sets is unlimited, so an upper bound also holds for
requests that ask for nothing.

`read_asked` is strict, runs once per request and raises RequestSloError. `resolve` runs later and cannot fail: the
group's quality floor depends on the category, which is known after the headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from slo_router.contract.model import Slo
from slo_router.contract.units import MS
from slo_router.errors import RequestSloError

MAX_MS = 3_600_000.0  # an hour: more than any request may take
MAX_COST_PER_1K_USD = 1_000.0
LONGEST_TEXT = 512  # of a value in OpenAI's metadata, which holds texts alone
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?|\.[0-9]+", re.ASCII)
_CATEGORY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Field(NamedTuple):
    """The name and header of one field, and its accepted values. `maximum` is in the unit that clients use."""

    name: str
    header: str
    scale: float
    maximum: float
    zero_allowed: bool
    is_floor: bool  # min_quality bounds from below, the others from above

    @property
    def expected(self) -> str:
        """What a valid value looks like, for messages."""
        return f"a number {'from' if self.zero_allowed else 'above'} 0 to {self.maximum:,g}"


FIELDS = (  # in the order of `contract.model.Slo`
    Field("ttft_ms", "x-slo-ttft-ms", MS, MAX_MS, zero_allowed=False, is_floor=False),
    Field("tpot_ms", "x-slo-tpot-ms", MS, MAX_MS, zero_allowed=False, is_floor=False),
    Field("e2e_ms", "x-slo-e2e-ms", MS, MAX_MS, zero_allowed=False, is_floor=False),
    Field("cost_per_1k", "x-slo-cost-per-1k", 1.0, MAX_COST_PER_1K_USD, zero_allowed=True, is_floor=False),
    Field("min_quality", "x-slo-min-quality", 1.0, 1.0, zero_allowed=True, is_floor=True),
)
_BY_NAME = {field.name: field for field in FIELDS}
_USER_SLO = {"maxLatencyMs": "ttft_ms", "maxCostPer1k": "cost_per_1k"}
CATEGORY_HEADER, RESCUE_HEADER = "x-slo-category", "x-slo-rescue"
RESCUES = ("off", "deadline", "hedge")  # each allows what stands before it, too


class SloInputs(NamedTuple):
    """The places that may set a request's SLO. Header names are lower case. All values are untrusted."""

    headers: Mapping[str, object] = {}
    body_slo: object = None  # metadata.slo
    user_slo: object = None
    key_metadata: object = None
    team_metadata: object = None


class Asked(NamedTuple):
    """What was asked, by field: value (in the units of `contract.model.Slo`) and source; bounds; client's category."""

    values: Mapping[str, tuple[float, str]] = {}
    bounds: Mapping[str, tuple[float | None, float | None]] = {}  # field → (minimum, maximum)
    category: str | None = None
    rescue: str = RESCUES[-1]  # the most that request, key and team allow; the group's settings may allow less


class ResolvedSlo(NamedTuple):
    """The SLO that counts, and the fields in which the request asked for more than its key or team allows."""

    slo: Slo
    clamped: tuple[str, ...] = ()


NOTHING_ASKED = Asked()


def read_asked(inputs: SloInputs) -> Asked:
    """Reads and checks what a request, its key and its team set. Raises RequestSloError with the field's name."""
    values: dict[str, tuple[float, str]] = {}
    team, key = _section(inputs.team_metadata, "team metadata"), _section(inputs.key_metadata, "key metadata")
    if team:  # weakest first: what comes later overwrites
        _read_mapping(values, team.get("slo"), "team metadata slo")
    if key:
        _read_mapping(values, key.get("slo"), "key metadata slo")
    _read_user_slo(values, inputs.user_slo)
    _read_mapping(values, _written_out(inputs.body_slo), "metadata.slo")
    category, rescue = None, _least_rescue(team, key)
    if inputs.headers:
        for field in FIELDS:
            raw = inputs.headers.get(field.header)
            if raw is not None:
                values[field.name] = (_parse_header(field, raw), "header")
        category = _read_category(inputs.headers.get(CATEGORY_HEADER))
        rescue = min(rescue, _read_rescue(RESCUE_HEADER, inputs.headers.get(RESCUE_HEADER)), key=RESCUES.index)
    bounds: dict[str, tuple[float | None, float | None]] = {}
    if team:
        _read_limits(bounds, team.get("slo_limits"), "team metadata slo_limits")
    if key:
        _read_limits(bounds, key.get("slo_limits"), "key metadata slo_limits")
    if not values and not bounds and category is None and rescue == RESCUES[-1]:
        return NOTHING_ASKED
    return Asked(values, bounds, category, rescue)


def resolve(asked: Asked, group_default: Slo) -> ResolvedSlo:
    """Fills in the group's defaults and applies the bounds."""
    if asked is NOTHING_ASKED:
        return ResolvedSlo(group_default)
    resolved: list[float | None] = list(group_default)
    clamped: list[str] = []
    for index, field in enumerate(FIELDS):
        value, source = asked.values.get(field.name, (resolved[index], "group"))
        bounded = _clamp(field, value, asked.bounds.get(field.name))
        if bounded != value and source in {"header", "metadata.slo", "user_slo"}:
            clamped.append(field.name)
        resolved[index] = bounded
    return ResolvedSlo(Slo(*resolved), tuple(clamped))


def cost_ceiling(asked: Asked) -> float | None:
    """The most USD per 1,000 tokens that the `slo_limits` of key and team allow; `None` where they set no bound."""
    return asked.bounds["cost_per_1k"][1] if "cost_per_1k" in asked.bounds else None


def limits_alone(inputs: SloInputs) -> SloInputs:
    """Only the `slo_limits` of key and team, for the rest may be malformed. If they name rescue, it is off."""
    key, team = (
        {"slo_limits": said.get("slo_limits"), "slo_rescue": None if said.get("slo_rescue") is None else RESCUES[0]}
        if isinstance(said, Mapping)
        else None
        for said in (inputs.key_metadata, inputs.team_metadata)
    )
    return SloInputs(key_metadata=key, team_metadata=team)


def ceiling_in(inputs: SloInputs) -> float | None:
    """The cost ceiling of key and team, USD per 1,000 tokens; `None` where none is set, or it can't be read."""
    try:
        return cost_ceiling(read_asked(limits_alone(inputs)))
    except RequestSloError:
        return None


def _clamp(field: Field, value: float | None, bound: tuple[float | None, float | None] | None) -> float | None:
    if bound is None:
        return value
    minimum, maximum = bound
    if minimum is not None and (value < minimum if value is not None else field.is_floor):
        value = minimum
    if maximum is not None and (value > maximum if value is not None else not field.is_floor):
        value = maximum
    return value


def _section(value: object, where: str) -> Mapping[str, object] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise RequestSloError(where, value, "a mapping")
    return value


def _written_out(value: object) -> object:
    """The mapping that a text holds as JSON; any other value as it came."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        return value
    try:
        found = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value
    return found if isinstance(found, Mapping) else value


def _read_mapping(values: dict[str, tuple[float, str]], raw: object, where: str) -> None:
    section = _section(raw, where)
    for name, value in (section or {}).items():
        field = _BY_NAME.get(name)
        if field is None:
            raise RequestSloError(f"{where}.{_short(name)}", value, f"one of the fields {', '.join(_BY_NAME)}")
        if value is not None:
            values[field.name] = (_parse_number(field, value, f"{where}.{name}"), where)


def _read_user_slo(values: dict[str, tuple[float, str]], raw: object) -> None:
    for name, value in (_section(raw, "user_slo") or {}).items():
        if name not in _USER_SLO:
            raise RequestSloError(f"user_slo.{_short(name)}", value, f"one of the fields {', '.join(_USER_SLO)}")
        if value is not None:
            field = _BY_NAME[_USER_SLO[name]]
            values[field.name] = (_parse_number(field, value, f"user_slo.{name}"), "user_slo")


def _read_limits(bounds: dict[str, tuple[float | None, float | None]], raw: object, where: str) -> None:
    for name, value in (_section(raw, where) or {}).items():
        field, at = _BY_NAME.get(name), f"{where}.{_short(name)}"
        if field is None:
            raise RequestSloError(at, value, f"one of the fields {', '.join(_BY_NAME)}")
        limit = _section(value, at) or {}
        unknown = set(limit) - {"min", "max"}
        if unknown:
            raise RequestSloError(f"{at}.{_short(unknown.pop())}", value, "`min` or `max`")
        low, high = (
            None if limit.get(end) is None else _parse_number(field, limit[end], f"{at}.{end}")
            for end in ("min", "max")
        )
        before_low, before_high = bounds.get(name, (None, None))
        lows = [bound for bound in (low, before_low) if bound is not None]
        highs = [bound for bound in (high, before_high) if bound is not None]
        bounds[name] = (max(lows, default=None), min(highs, default=None))


def _parse_header(field: Field, raw: object) -> float:
    text = raw.strip() if isinstance(raw, str) else ""
    if not _NUMBER.fullmatch(text) or not _accepts(field, float(text)):
        raise RequestSloError(field.header, raw, field.expected)
    return float(text) * field.scale


def _parse_number(field: Field, value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _accepts(field, value):
        raise RequestSloError(where, value, field.expected)
    return value * field.scale


def _accepts(field: Field, value: float) -> bool:
    return 0 <= value <= field.maximum and (value > 0 or field.zero_allowed)  # NaN fails the first comparison


def _read_category(raw: object) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, str) or not _CATEGORY.fullmatch(raw.strip()):
        raise RequestSloError(CATEGORY_HEADER, raw, "a category name of letters, digits, - _ and .")
    return raw.strip().lower()


def _least_rescue(*sections: Mapping[str, object] | None) -> str:
    """The most that team and key both allow."""
    said = (_read_rescue("metadata slo_rescue", one.get("slo_rescue")) for one in sections if one)
    return min(said, default=RESCUES[-1], key=RESCUES.index)


def _read_rescue(where: str, raw: object) -> str:
    if raw is None:
        return RESCUES[-1]
    word = "off" if raw is False else raw.strip().lower() if isinstance(raw, str) else ""
    if word not in RESCUES:
        raise RequestSloError(where, raw, f"one of {', '.join(RESCUES)}")
    return word


def _short(name: object) -> str:
    return repr(str(name)[:40])[1:-1]  # escaped: half a surrogate pair can't be sent in an answer
