"""One question, the answer as it is kept, and the key that it is kept under.

The key is a hash over everything that decides an answer: the deployment's id and model, and the request. Neither prompt
nor address can be read from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType

from slo_bench.load.workload import Prompt
from slo_bench.measure.excuses import Excuse

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `parameters` go into the request beside prompt and length, such as the temperature."""

    prompt: Prompt
    parameters: Mapping[str, object] = field(default_factory=dict)

    def content(self) -> dict[str, object]:
        """Everything in the request's body that decides the answer, but for the model."""
        messages = [dict(message) for message in self.prompt.messages]
        return {"messages": messages, "max_tokens": self.prompt.max_tokens, **self.parameters}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a deployment said at `at_s` (Unix seconds). Token counts are `None` where the server sent none."""

    text: str = field(repr=False)
    at_s: float
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def cut(self) -> bool:
        """The answer ended at its length limit, not by itself."""
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and of which class: those of `stream`. With an `excuse` the deployment is not to blame."""

    error: str
    excuse: Excuse | None = None


def answer_key(deployment_id: str, model: str, question: Question, settings: Mapping[str, object] = NO_SETTINGS) -> str:
    """What an answer is kept under. `settings` is what the configuration puts into the request, such as an effort."""
    parts = [deployment_id, model, question.content(), *([settings] if settings else [])]
    content = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return sha256(content.encode()).hexdigest()
