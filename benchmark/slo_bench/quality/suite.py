"""A quality suite: items with a known answer, each in a task category.

The file is YAML (`items:` with a list) or JSONL (one item per line). Both have the same fields:

    id: capital-of-france               # unique in the suite; scores are kept under it
    category: reasoning                 # the task category; the router looks it up
    max_tokens: 64
    messages:
      - {role: user, content: What is the capital of France? Answer with its name alone.}
    parameters: {temperature: 0}        # sent as they are; null leaves one out, for models that refuse it
    grader: {type: exact, expected: Paris}

Prompts are sent without a salt, so that equal prompts get equal answers and answers can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from slo_bench.errors import SuiteError
from slo_bench.grading.graders import Grader
from slo_bench.prompts.entries import checked, entries, shipped_text, text_of
from slo_bench.prompts.workload import Prompt
from slo_bench.quality.answers import Question
from slo_bench.quality.composed import composed
from slo_router.contract.settings.validation import Count, Strict

_OURS = frozenset({"model", "messages", "max_tokens", "stream", "stream_options"})  # body fields that the agent sets


class Message(Strict):
    """One message of a prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(min_length=1)]


class Item(Strict):
    """One item. `parameters` are added to the request."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
    category: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Count
    grader: Grader
    parameters: dict[str, object] = Field({})

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, parameters: dict[str, object]) -> dict[str, object]:
        for name in _OURS & parameters.keys():
            raise ValueError(f"parameters without {name!r}, which is set otherwise")
        return parameters

    def question(self) -> Question:
        """The question; its temperature is 0 unless the item sets another."""
        messages = tuple(message.model_dump() for message in self.messages)
        parameters = {"temperature": 0, **self.parameters}
        stated = {name: value for name, value in parameters.items() if value is not None}
        return Question(Prompt(self.category, messages, self.max_tokens), stated)


@dataclass(frozen=True, slots=True)
class Suite:
    """All items of a file, in its order."""

    items: tuple[Item, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in the order in which they first appear."""
        return tuple(dict.fromkeys(item.category for item in self.items))

    def of_category(self, category: str) -> tuple[Item, ...]:
        """The items of one category, in the file's order."""
        return tuple(item for item in self.items if item.category == category)

    def fingerprint(self, category: str) -> str:
        """A hash of all items of the category. Scores with different fingerprints don't compare."""
        content = "\n".join(sorted(item.model_dump_json() for item in self.of_category(category)))
        return sha256(content.encode()).hexdigest()[:12]


def load_suite(path: Path | None) -> Suite:
    """Reads a suite; for `None` the one that ships with the agent. Raises SuiteError."""
    if path is not None:
        return parse_suite(text_of(path, SuiteError), path.name)
    written = parse_suite(shipped_text("suites/default.yaml"), "default.yaml")
    firsts = {name: written.of_category(name)[0] for name in written.categories}
    openings = {name: [message.model_dump() for message in item.messages[:-1]] for name, item in firsts.items()}
    more = (checked(Item, entry, "patterns.yaml", SuiteError) for entry in composed(openings))
    return Suite((*written.items, *more))


def parse_suite(text: str, name: str) -> Suite:
    """Reads a suite. `name` is the file's name, for errors and for the format: .jsonl and .ndjson, else YAML."""
    items = entries(text, name, "items", Item, SuiteError)
    _reject_repeated([item.id for item in items], name)
    return Suite(tuple(items))


def _reject_repeated(ids: Sequence[str], name: str) -> None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise SuiteError(f"{name}: id {one!r} is used twice, expected ids to be unique")
        seen.add(one)
