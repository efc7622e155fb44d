"""Which scrubbers a sample goes through: the built-in rules by name, and functions of the user's own.

A user's module may lie in the current directory, which comes last in the search: it cannot stand in for another.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from slo_bench.errors import SampleError
from slo_bench.sampling import rules
from slo_bench.sampling.rules import Finder

RULES = ("key", "email", "iban", "card", "ip", "phone")  # where two find the same, the first names it
NAMES = "slo_bench.sampling.names:find_names"
_FINDERS: Mapping[str, Finder] = {
    "key": rules.keys,
    "email": rules.emails,
    "iban": rules.ibans,
    "card": rules.cards,
    "ip": rules.addresses,
}


def built_in(names: Sequence[str], regions: Sequence[str]) -> list[Finder]:
    """The rules of these names; `regions` are those of telephone numbers. Raises SampleError for an unknown one."""
    for name in names:
        if name not in RULES:
            raise SampleError(f"--rules: {name!r}, expected some of {', '.join(RULES)}")
    for region in regions:
        if region not in rules.REGIONS:
            raise SampleError(f"--phone-regions: {region!r}, expected two capital letters of a country, such as US")
    return [_FINDERS.get(name) or rules.phones(regions) for name in RULES if name in names]


def load(path: str) -> Finder:
    """The function that `module:callable` names. Raises SampleError where there is none."""
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        finder = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "; install litellm-slo-router[names]" if path == NAMES else ""
        raise SampleError(f"--scrubber: {path!r}: {error}, expected module:callable{hint}") from error
    if not callable(finder):
        raise SampleError(f"--scrubber: {path!r} is no function, expected one from a text to (start, end, kind)")
    found: Finder = finder
    return found
