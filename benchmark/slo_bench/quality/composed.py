"""The larger part of the shipped suite: items composed from patterns, so that there are enough to tell five points.

A hundred items place a quality to ±8 points; to find a drop of five in one run takes about 600, see `gate.ruling`. So
beside the items written by hand each category has `COMPOSED` more, made of the sentences and names in
`suites/patterns.yaml`: 17 patterns, each filled ten times, the same way every time. They are easier and more alike than
real tasks, and no substitute for a suite of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import yaml
from pydantic import Field

from slo_router.validation import Strict

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


class Summary(Strict):
    """A text, and patterns for what its summary should say."""

    text: str
    facts: list[str]


class Factors(Strict):
    """Of an answer, see `Sum`."""

    ab: int = 0
    a: int = 0
    b: int = 0
    one: int = 0


class Sum(Strict):
    """A question about the numbers a and b; the answer is ab × a × b + a × a + b × b + one."""

    text: str
    answer: Factors


class Patterns(Strict):
    """What items are composed of."""

    people: str
    firms: str
    places: str
    rules: dict[str, str]
    ner: list[str] = Field(min_length=1)
    summarization: list[Summary] = Field(min_length=1)
    reasoning: list[Sum] = Field(min_length=1)

    def names(self, number: int) -> dict[str, str]:
        """Others for each filling of a pattern: the numbers of names and of patterns have no common factor."""
        lists = {"people": self.people.split(", "), "firms": self.firms.split(", "), "places": self.places.split(", ")}
        return {key: lists[name][(number + shift) % len(lists[name])] for key, (name, shift) in _NAMES.items()}


def composed() -> Iterator[Entry]:
    """All of them, as entries of a suite."""
    text = (resources.files("slo_bench") / "suites" / "patterns.yaml").read_text(encoding="utf-8")
    patterns = Patterns.model_validate(yaml.safe_load(text))
    for number in range(COMPOSED):
        yield _ner(number, patterns)
        yield _summary(number, patterns)
        yield _sum(number, patterns)


def _ner(number: int, patterns: Patterns) -> Entry:
    pattern, names = patterns.ner[number % len(patterns.ner)], patterns.names(number)
    expected: dict[str, list[str]] = {kind: [] for kind in _KINDS.values()}
    for key, name in names.items():
        if f"{{{key}}}" in pattern:
            expected[_KINDS[key[0]]].append(name)
    grader: Entry = {"type": "set_f1", "expected": expected}
    return _entry("ner", number, 128, (patterns.rules["ner"], pattern.format(**names)), grader)


def _summary(number: int, patterns: Patterns) -> Entry:
    summary = patterns.summarization[number % len(patterns.summarization)]
    filling = {**patterns.names(number), "n": str(3 + number * 7 % 15)}
    facts = [f"(?i){fact.format(**filling)}" for fact in summary.facts]
    grader: Entry = {"type": "regex", "max_words": 40, "expected": facts}
    text = summary.text.format(**filling)
    return _entry("summarization", number, 96, (patterns.rules["summarization"], text), grader)


def _sum(number: int, patterns: Patterns) -> Entry:
    question = patterns.reasoning[number % len(patterns.reasoning)]
    a, b, times = 11 + number * 5 % 19, 3 + number * 3 % 7, question.answer
    answer = times.ab * a * b + times.a * a + times.b * b + times.one
    grader: Entry = {"type": "numeric", "expected": answer}
    text = question.text.format(a=a, b=b)
    return _entry("reasoning", number, 256, (patterns.rules["reasoning"], text), grader)


def _entry(category: str, number: int, max_tokens: int, texts: tuple[str, str], grader: Entry) -> Entry:
    messages = [{"role": "system", "content": texts[0]}, {"role": "user", "content": texts[1]}]
    name = f"{category}-composed-{number:03d}"
    return {"id": name, "category": category, "max_tokens": max_tokens, "messages": messages, "grader": grader}
