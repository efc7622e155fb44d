"""Strict reading of YAML values: constrained types, and errors naming the path, the value and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from slo_router.contract.settings.environment import FromEnvironment
from slo_router.errors import SettingsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(gt=0, strict=True)]
Model = TypeVar("Model", bound=BaseModel)


def _one_for_all(value: object) -> object:
    return {"default": value} if isinstance(value, int | float) else value


QualityTable = Annotated[dict[str, Share], BeforeValidator(_one_for_all)]
"""Quality (0..1) by category; a single number stands for every category."""


class Strict(BaseModel):
    """A section of the YAML: unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, section: object) -> object:
        """As `extra="forbid"`, but the message says which keys there are; not the value, which may be a secret."""
        for key in section if isinstance(section, Mapping) else ():
            if key not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise PydanticCustomError("unknown_key", "one of {known}", {"key": str(key), "known": known})
        if not isinstance(section, Mapping):
            return _typed(section)
        return {key: _meant(value, _parts(cls.model_fields[key].annotation)) for key, value in section.items()}


def _parts(annotation: object) -> list[object]:
    """A field's type and everything that it is made of; the keys of a mapping are none of its values."""
    inner = get_args(annotation)[1:] if get_origin(annotation) is dict else get_args(annotation)
    return [annotation, *(one for part in inner for one in _parts(part))]


def _meant(value: object, parts: Sequence[object]) -> object:
    """A value from the environment as its field takes it; a section within reads its own."""
    if isinstance(value, FromEnvironment):
        return str(value) if str in parts else _typed(value)
    holds_sections = any(isinstance(part, type) and issubclass(part, BaseModel) for part in parts)
    return value if holds_sections else _typed(value)


def _typed(value: object) -> object:
    """Text from the environment as the number or boolean that YAML would read it as."""
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
    """Reads a section. Raises SettingsError with a line per fault; `path` is the section's YAML path."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise SettingsError("\n".join(_describe(path, fault) for fault in error.errors())) from error


def _describe(path: str, fault: ErrorDetails) -> str:
    where = ".".join([path, *map(str, fault["loc"])])
    expected = re.sub("^(Value error, |Input should be |String should )", "", fault["msg"])
    if fault["type"] == "unknown_key":
        return f"{where}.{fault['ctx']['key']}: unknown key, expected {expected}"
    if fault["type"] == "secret":
        return f"{where}: {fault['ctx']['shown']}, expected {expected}"
    if fault["type"] == "missing":
        return f"{where}: missing"
    shown = "" if isinstance(fault["input"], Mapping) else f"{fault['input']!r}, "
    return f"{where}: {shown}expected {expected}"
