"""Checks before the first request whether a JSON Schema can be used for grading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises ValueError for an invalid or endless schema, and for a reference that leads nowhere or outside."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path)) or "its root"
        raise ValueError(f"a valid JSON Schema: {error.message} at {where}") from None
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"references within the schema, {reference!r} leads nowhere") from None
    try:
        Draft202012Validator(schema, registry=Registry()).is_valid(None)
    except RecursionError:
        raise ValueError("a schema that ends: it refers to itself for the same value") from None


def _references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
