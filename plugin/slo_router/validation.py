"""Strict reading of YAML values: constrained types, and errors naming the path, the value and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

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


def validate(model: type[Model], value: object, path: str) -> Model:
    """Reads a section. Raises SettingsError with a line per fault; `path` is the section's YAML path."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [
            _describe(".".join([path, *map(str, e["loc"])]), e["type"], e["msg"], e["input"]) for e in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from error


def _describe(where: str, kind: str, message: str, value: object) -> str:
    if kind == "extra_forbidden":
        return f"{where}: unknown key"
    if kind == "missing":
        return f"{where}: missing"
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ")
    shown = "" if isinstance(value, Mapping) else f"{value!r}, "
    return f"{where}: {shown}expected {expected}"
