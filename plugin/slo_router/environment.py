"""LiteLLM's way to keep a value out of the YAML: `os.environ/NAME` stands for the environment variable NAME."""

from __future__ import annotations

import os

ENV_PREFIX = "os.environ/"


def resolve_environment(value: str | None) -> str | None:
    """`os.environ/NAME` → the variable's value; anything else unchanged. Raises ValueError where it is not set."""
    if value is None or not value.startswith(ENV_PREFIX):
        return value
    name = value.removeprefix(ENV_PREFIX)
    if not os.environ.get(name):
        raise ValueError(f"the environment variable {name} to be set")
    return os.environ[name]
