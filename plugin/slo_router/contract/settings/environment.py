"""LiteLLM's way to keep a value out of the YAML: `os.environ/NAME` stands for the environment variable NAME.

LiteLLM replaces it anywhere, even for a number or a boolean, and always by text. `FromEnvironment` marks such text. So
a strict section accepts "0.5" from a variable as a number, but rejects the text "0.5" in the YAML.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

ENV_PREFIX = "os.environ/"


class FromEnvironment(str):
    """Text that came from the process environment."""

    __slots__ = ()


class FromBlock(FromEnvironment):
    """Text from the YAML's `environment_variables`. LiteLLM sets these after it has read `model_list`."""

    __slots__ = ()


def resolve_environment(value: str | None) -> str | None:
    """`os.environ/NAME` → the variable's value; other text unchanged. Raises ValueError where it is unset or empty."""
    if value is None or not value.startswith(ENV_PREFIX):
        return value
    name = value.removeprefix(ENV_PREFIX)
    if not os.environ.get(name):
        raise ValueError(f"the environment variable {name} to be set")
    return os.environ[name]


def resolve_all(value: object, block: Mapping[str, str]) -> object:
    """Replaces every `os.environ/NAME` that is set. `block` has the `environment_variables`. The rest stays unchanged.

    As in LiteLLM, it replaces values of mappings, also of mappings in lists, but not text that is an item of a list.
    """
    if isinstance(value, Mapping):
        return {name: resolve_all(one, block) for name, one in value.items()}
    if isinstance(value, list):
        return [resolve_all(one, block) if isinstance(one, Mapping) else one for one in value]
    if not isinstance(value, str) or not value.startswith(ENV_PREFIX):
        return value
    name = value.removeprefix(ENV_PREFIX)
    if name in os.environ:
        return FromEnvironment(os.environ[name])
    return FromBlock(block[name]) if name in block else value


def as_litellm_reads(value: object) -> object:
    """A value of `litellm_params` as LiteLLM has it: an unset variable is `None`."""
    if isinstance(value, Mapping):
        return {name: as_litellm_reads(one) for name, one in value.items()}
    if isinstance(value, FromBlock) or (isinstance(value, str) and value.startswith(ENV_PREFIX)):
        return None
    return str(value) if isinstance(value, FromEnvironment) else value


def variables_in(value: object) -> list[str]:
    """The variables that a value names, in order. In a resolved document these are the unset ones."""
    if isinstance(value, Mapping):
        return [name for one in value.values() for name in variables_in(one)]
    return [value.removeprefix(ENV_PREFIX)] if isinstance(value, str) and value.startswith(ENV_PREFIX) else []


def from_environment(value: object) -> object:
    """Marks every text of a section that came from the router, where text from variables is no longer marked."""
    if isinstance(value, Mapping):
        return {name: from_environment(one) for name, one in value.items()}
    return FromEnvironment(value) if type(value) is str else value
