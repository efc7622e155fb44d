"""The prompts for measuring deployments, each in a task category.

A workload file is YAML (`prompts:` with a list) or JSONL (one prompt per line). Both have the same fields:

    category: ner                       # becomes part of the Redis key; the router looks it up
    max_tokens: 160
    messages:
      - {role: system, content: Extract every person and place as JSON.}
      - {role: user, content: …}
    tools: […]                          # optional, sent with the request; so is response_format
    stream: true                        # optional: whether production streamed; the agent always streams

A server answers faster if it has cached the beginning of a prompt. So every call gets a unique salt as the first text
of its first message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from slo_bench.errors import WorkloadError
from slo_bench.prompts.entries import entries, shipped_text, text_of
from slo_router.contract.settings.validation import Strict

Message = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's content. `max_tokens` bounds the answer."""

    category: str
    messages: tuple[Message, ...]
    max_tokens: int
    tools: tuple[Mapping[str, object], ...] = ()
    response_format: Mapping[str, object] | None = None
    stream: bool | None = None
    expect: Literal["json"] | None = None

    @property
    def text(self) -> str:
        """All text of the messages."""
        return "\n".join(_text_of(message.get("content")) for message in self.messages)

    @property
    def expects_json(self) -> bool:
        """Whether the answer must be JSON, by `expect` or by the response format."""
        kind = self.response_format.get("type") if self.response_format else None
        return self.expect == "json" or kind in {"json_object", "json_schema"}

    def salted(self, salt: str) -> list[dict[str, object]]:
        """The messages with `salt` as the first text of the first one."""
        first, *rest = ({**message} for message in self.messages)
        content = first.get("content")
        first["content"] = (
            f"{salt}\n{content}"
            if isinstance(content, str)
            else [{"type": "text", "text": salt}, *(content if isinstance(content, list) else [])]
        )
        return [first, *rest]


@dataclass(frozen=True, slots=True)
class Workload:
    """All prompts of a file, in its order."""

    prompts: tuple[Prompt, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in the order in which they first appear."""
        return tuple(dict.fromkeys(prompt.category for prompt in self.prompts))

    def of_category(self, category: str) -> tuple[Prompt, ...]:
        """The prompts of one category, in the file's order."""
        return tuple(prompt for prompt in self.prompts if prompt.category == category)


class _MessageFields(Strict, strict=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    tool_calls: list[dict[str, object]] = Field([])
    tool_call_id: str = ""
    content: str | list[dict[str, object]] | None

    @model_validator(mode="before")
    @classmethod
    def _calls_need_no_text(cls, message: object) -> object:
        return {"content": None, **message} if isinstance(message, dict) and message.get("tool_calls") else message

    @field_validator("content", mode="before")
    @classmethod
    def _text_or_parts(cls, value: object, info: ValidationInfo) -> object:
        parts = isinstance(value, list) and all(isinstance(part, dict) for part in value)
        if value and (isinstance(value, str) or parts):
            return value
        if (value is None and info.data.get("tool_calls")) or (value == "" and info.data.get("role") == "tool"):
            return value
        raise ValueError("text, or a list of content parts, not empty")


class _PromptFields(Strict, strict=True):
    category: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]  # other names the router cannot look up
    messages: Annotated[list[_MessageFields], Field(min_length=1)]
    max_tokens: Annotated[int, Field(gt=0)]
    tools: list[dict[str, object]] = Field([])
    response_format: dict[str, object] | None = None
    stream: bool | None = None
    expect: Literal["json"] | None = None


def load_workload(path: Path | None) -> Workload:
    """Reads a workload file; for `None` the one that ships with the agent. Raises WorkloadError."""
    if path is None:
        return parse_workload(shipped_text("workloads/default.yaml"), "default.yaml")
    return parse_workload(text_of(path, WorkloadError), path.name)


def parse_workload(text: str, name: str) -> Workload:
    """Reads a workload. `name` is the file's name, for errors and for the format: .jsonl and .ndjson, else YAML."""
    return Workload(tuple(map(_prompt, entries(text, name, "prompts", _PromptFields, WorkloadError))))


def _prompt(fields: _PromptFields) -> Prompt:
    messages = tuple(message.model_dump(exclude_unset=True) for message in fields.messages)
    tools = tuple(fields.tools)
    return Prompt(
        fields.category, messages, fields.max_tokens, tools, fields.response_format, fields.stream, fields.expect
    )


def _text_of(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
