"""The larger part of the shipped suite: items composed from patterns, enough to find a drop of five points.

A hundred items give a quality to ±8 points. A drop of five points in one run needs about 600 items, see `gate.ruling`.
So each category has `COMPOSED` items besides those written by hand. They are made of the sentences and names in
`suites/patterns.yaml`: 17 patterns, each filled ten times, always in the same way. They have the same opening messages
as the items written by hand. They are easier and more alike than real tasks, and do not replace your own suite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from slo_bench.prompts.entries import read_yaml, shipped_text
from slo_router.contract.settings.validation import Strict

COMPOSED = 170  # per category
Entry = dict[str, object]
_NAMES = {
    "p": ("people", 0),
    "p2": ("people", 7),
    "o": ("firms", 0),
    "o2": ("firms", 5),
    "l": ("places", 3),
    "l2": ("places", 11),
}
_KINDS = {"p": "persons", "o": "organizations", "l": "locations"}


class Composed(NamedTuple):
    """An item's question, grader and longest answer."""

    text: str
    grader: Entry
    max_tokens: int


class Summary(Strict):
    """A text, and patterns for the facts that its summary should have."""

    text: str
    facts: list[str]


class Factors(Strict):
    """The factors of an answer, see `Sum`."""

    ab: int = 0
    a: int = 0
    b: int = 0
    one: int = 0


class Sum(Strict):
    """A question about the numbers a and b; the answer is ab × a × b + a × a + b × b + one."""

    text: str
    answer: Factors


class Patterns(Strict):
    """The parts that items are composed of."""

    people: str
    firms: str
    places: str
    ner: list[str] = Field(min_length=1)
    summarization: list[Summary] = Field(min_length=1)
    reasoning: list[Sum] = Field(min_length=1)

    def names(self, number: int) -> dict[str, str]:
        """The names of item `number`.

        The number of names in a list shares no factor with the number of patterns, so each filling differs.
        """
        lists = {"people": self.people.split(", "), "firms": self.firms.split(", "), "places": self.places.split(", ")}
        return {key: lists[name][(number + shift) % len(lists[name])] for key, (name, shift) in _NAMES.items()}


def composed(openings: Mapping[str, Sequence[Entry]]) -> Iterator[Entry]:
    """All composed items, as entries of a suite. `openings` are each category's messages before the question."""
    patterns = Patterns.model_validate(read_yaml(shipped_text("suites/patterns.yaml")))
    for number in range(COMPOSED):
        for category, compose in (("ner", _ner), ("summarization", _summary), ("reasoning", _sum)):
            question, grader, max_tokens = compose(number, patterns)
            messages = [*openings[category], {"role": "user", "content": question}]
            name = f"{category}-composed-{number:03d}"
            yield {"id": name, "category": category, "max_tokens": max_tokens, "messages": messages, "grader": grader}


def _ner(number: int, patterns: Patterns) -> Composed:
    pattern, names = patterns.ner[number % len(patterns.ner)], patterns.names(number)
    expected: dict[str, list[str]] = {kind: [] for kind in _KINDS.values()}
    for key, name in names.items():
        if f"{{{key}}}" in pattern:
            expected[_KINDS[key[0]]].append(name)
    return Composed(pattern.format(**names), {"type": "set_f1", "expected": expected}, 128)


def _summary(number: int, patterns: Patterns) -> Composed:
    summary = patterns.summarization[number % len(patterns.summarization)]
    filling = {**patterns.names(number), "n": str(3 + number * 7 % 15)}
    facts = [f"(?i){fact.format(**filling)}" for fact in summary.facts]
    return Composed(summary.text.format(**filling), {"type": "regex", "max_words": 40, "expected": facts}, 96)


def _sum(number: int, patterns: Patterns) -> Composed:
    question = patterns.reasoning[number % len(patterns.reasoning)]
    a, b, times = 11 + number * 5 % 19, 3 + number * 3 % 7, question.answer
    answer = times.ab * a * b + times.a * a + times.b * b + times.one
    return Composed(question.text.format(a=a, b=b), {"type": "numeric", "expected": answer}, 256)
