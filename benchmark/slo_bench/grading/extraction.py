"""F1 of extracted values: precision and recall over (field, value) pairs, over all fields of an item.

    F1 = 2 × (found and expected) ÷ (found + expected)

Values are compared as sets in their normalised form (`text.normalised`), so order and repetition don't count. If
nothing is expected and nothing found, F1 is 1. Fields that the item doesn't name are ignored. A missing or null field
is empty. A single value counts as a list of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slo_bench.grading.text import normalised

Pairs = frozenset[tuple[str, str]]


def set_f1(expected: Mapping[str, Sequence[str]], answer: object) -> float:
    """F1, 0 to 1; an answer that is not an object scores 0."""
    if not isinstance(answer, Mapping):
        return 0.0
    wanted = pairs(expected)
    found = pairs({field: answer.get(field) for field in expected})
    return f1(wanted, found)


def f1(wanted: Pairs, found: Pairs) -> float:
    """F1 of two sets of pairs, 0 to 1."""
    if not wanted and not found:
        return 1.0
    return 2 * len(wanted & found) / (len(wanted) + len(found))


def pairs(fields: Mapping[str, object]) -> Pairs:
    """Each value with its field, normalised; empty values are left out."""
    return frozenset(
        (field, text)
        for field, values in fields.items()
        for value in (values if isinstance(values, list | tuple) else [values])
        if value is not None and (text := normalised(str(value)))
    )
