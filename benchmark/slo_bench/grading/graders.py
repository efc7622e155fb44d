"""The graders that an item may ask for: their settings, and the scores of graders that need only the answer.

    exact         the same text, normalised (see `text`); `expected` may list several right answers
    regex         the share of expected patterns that are found; 0 if a forbidden one is found. With `max_words` only
                  the first words count
    numeric       the number that the answer gives (see `numeric`), within a tolerance
    json_schema   a JSON value (see `json_text`) that is valid under a schema
    set_f1        a JSON object of lists against the expected ones (see `extraction`)
    code          unit tests on the code in the answer (see `sandbox`)
    judge         a model compares the answer with a reference (see `judge`)

Scores lie in 0..1. A pattern gets a quarter of a second of CPU time per answer.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import regex
from jsonschema import Draft202012Validator
from pydantic import BeforeValidator, Field, field_validator
from referencing import Registry

from slo_bench.grading.extraction import set_f1
from slo_bench.grading.json_text import json_in
from slo_bench.grading.numeric import number_in, same_number
from slo_bench.grading.schema_check import check_schema
from slo_bench.grading.text import first_words, normalised
from slo_router.contract.settings.validation import Count, NotNegative, Positive, Strict

PATTERN_LIMIT_S = 0.25  # of CPU time


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class PatternTimeoutError(Exception):
    """A pattern took too long on an answer."""


class Exact(Strict):
    """The same text as one of the expected ones."""

    type: Literal["exact"]
    expected: Texts

    def score(self, answer: str) -> float:
        """0 or 1."""
        return float(normalised(answer) in {normalised(text) for text in self.expected})


class Pattern(Strict):
    """Patterns in the syntax of Python's `re`; `(?i)` at the start ignores case."""

    type: Literal["regex"]
    expected: Texts
    forbidden: Annotated[list[str], BeforeValidator(_listed)] = Field([])
    max_words: Count | None = None

    @field_validator("expected", "forbidden")
    @classmethod
    def _patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"a regular expression: {error}") from None
        return patterns

    def score(self, answer: str) -> float:
        """The share of the expected patterns. Raises PatternTimeoutError."""
        if any(_found(pattern, answer) for pattern in self.forbidden):
            return 0.0
        text = answer if self.max_words is None else first_words(answer, self.max_words)
        return sum(_found(pattern, text) for pattern in self.expected) / len(self.expected)


class Numeric(Strict):
    """A number; without a tolerance it must be the same."""

    type: Literal["numeric"]
    expected: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    tolerance: NotNegative = 0.0
    relative_tolerance: NotNegative = 0.0

    def score(self, answer: str) -> float:
        """0 or 1."""
        found = number_in(answer)
        right = found is not None and same_number(found, self.expected, self.tolerance, self.relative_tolerance)
        return float(right)


class Schema(Strict):
    """A JSON Schema (draft 2020-12) without references to other documents."""

    type: Literal["json_schema"]
    expected: dict[str, object]

    @field_validator("expected")
    @classmethod
    def _usable(cls, schema: dict[str, object]) -> dict[str, object]:
        check_schema(schema)
        return schema

    def score(self, answer: str) -> float:
        """0 or 1."""
        try:
            value = json_in(answer)
            return float(Draft202012Validator(self.expected, registry=Registry()).is_valid(value))
        except (ValueError, RecursionError):  # no JSON, or nested too deep
            return 0.0


class SetF1(Strict):
    """Lists of values by field."""

    type: Literal["set_f1"]
    expected: Annotated[dict[str, list[str]], Field(min_length=1)]

    def score(self, answer: str) -> float:
        """From 0 to 1."""
        try:
            return set_f1(self.expected, json_in(answer))
        except ValueError:
            return 0.0


class Code(Strict):
    """Python statements that raise where the answer's code is wrong."""

    type: Literal["code"]
    expected: Annotated[str, Field(min_length=1)]
    timeout_s: Positive = 10.0


class Judge(Strict):
    """A reference answer, and what makes an answer better than another."""

    type: Literal["judge"]
    expected: Annotated[str, Field(min_length=1)]
    criteria: str = "correctness first, then completeness, then brevity"


Pure: TypeAlias = Exact | Pattern | Numeric | Schema | SetF1
Grader: TypeAlias = Annotated[Pure | Code | Judge, Field(discriminator="type")]


def _found(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=PATTERN_LIMIT_S) is not None
    except TimeoutError:
        raise PatternTimeoutError(pattern) from None
