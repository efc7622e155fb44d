"""Strict reading of YAML values: constrained types, and errors with the path, the value and what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from slo_router.contract.settings.environment import FromEnvironment
from slo_router.errors import SettingsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(gt=0, strict=True)]
Model = TypeVar("Model", bound=BaseModel)
Read = TypeVar("Read")


def _one_for_all(value: object) -> object:
    if isinstance(value, int | float):
        return {"default": value}
    if isinstance(value, Mapping):
        return {name: one for name, one in value.items() if one is not None}
    raise ValueError("a number from 0 to 1, or a mapping of them by category")


QualityTable = Annotated[dict[str, Share], BeforeValidator(_one_for_all)]
"""Quality (0..1) by category; a single number stands for every category."""


def noting(faults: list[str], read: Callable[[], Read]) -> Read | None:
    """What `read` returns. Where it raises SettingsError: `None`, and the fault is appended."""
    try:
        return read()
    except SettingsError as error:
        faults.append(str(error))
        return None


def _from_percent(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d+)? ?%", value):
        return float(value.rstrip("% ")) / 100
    return value


Percent = Annotated[Share, BeforeValidator(_from_percent)]
"""A share, as 0.05 or as 5%."""


class Strict(BaseModel):
    """A section of the YAML, immutable. An unknown key is an error; a key without a value counts as left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _only_known_keys(cls, section: object, read: Callable[[object], Self]) -> Self:
        """Like `extra="forbid"`, but the message lists the known keys and omits the value, which may be a secret."""
        if not isinstance(section, Mapping):
            return read(_typed(section))
        fields = {key: cls.model_fields[key] for key in section if key in cls.model_fields}
        known = ", ".join(cls.model_fields)
        faults = [
            _fault(PydanticCustomError("unknown_key", "one of {known}", {"key": str(key), "known": known}))
            for key in section
            if key not in fields
        ]
        meant = {
            key: _meant(section[key], _parts(field.annotation))
            for key, field in fields.items()
            if section[key] is not None or field.is_required()
        }
        try:
            made = read(meant)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, [*faults, *map(_again, error.errors())]) from None
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return made


def _fault(said: PydanticCustomError) -> InitErrorDetails:
    return {"type": said, "input": {}}


def _again(told: ErrorDetails) -> InitErrorDetails:
    """A fault that was raised, in the form to raise it again together with others of its section."""
    said = PydanticCustomError(told["type"], told["msg"], told.get("ctx"))
    return {"type": said, "loc": told["loc"], "input": told["input"]}


def _parts(annotation: object) -> list[object]:
    """A field's type and the types within it, without the keys of mappings."""
    inner = get_args(annotation)[1:] if get_origin(annotation) is dict else get_args(annotation)
    return [annotation, *(one for part in inner for one in _parts(part))]


def _meant(value: object, parts: Sequence[object]) -> object:
    """A value from the environment with its field's type. A nested section converts its own values."""
    if isinstance(value, FromEnvironment):
        return str(value) if str in parts else _typed(value)
    holds_sections = any(isinstance(part, type) and issubclass(part, BaseModel) for part in parts)
    return value if holds_sections else _typed(value)


def _typed(value: object) -> object:
    """Text from the environment as the number or boolean that YAML would read."""
    if isinstance(value, Mapping):
        return {name: _typed(one) for name, one in value.items()}
    if not isinstance(value, FromEnvironment):
        return value
    plain = str(value).strip()
    if plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    for read in (int, float):
        try:
            return read(plain)
        except ValueError:
            continue
    return plain


def validate(model: type[Model], value: object, path: str) -> Model:
    """Reads a section at the YAML path `path`. Raises SettingsError with a line for each fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise SettingsError("\n".join(_describe(path, fault) for fault in error.errors())) from error


def _describe(path: str, fault: ErrorDetails) -> str:
    where = ".".join([path, *map(str, fault["loc"])])
    expected = re.sub("^(Value error, |Input should be |String should )", "", fault["msg"])
    expected = re.sub("a valid dictionary.*", "a mapping", expected)
    if fault["type"] == "unknown_key":
        return f"{where}.{fault['ctx']['key']}: unknown key, expected {expected}"
    if fault["type"] == "secret":
        return f"{where}: {fault['ctx']['shown']}, expected {expected}"
    if fault["type"] == "missing":
        return f"{where}: missing"
    shown = "" if isinstance(fault["input"], Mapping) else f"{fault['input']!r}, "
    return f"{where}: {shown}expected {expected}"
