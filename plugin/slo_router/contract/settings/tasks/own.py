"""`groups.NAME.categories`: a team's own categories, and how requests of each are recognized.

    categories:
      legal: [contract, clause]                  # words that name it in the instruction
      invoices:
        when: {tag: invoices}                    # or a list: one of these must hold
      support:
        when:
          - {header: {x-app: helpdesk}, tool: "*"}   # both must hold
          - {system_sha256: 9f86d081}
        words: [ticket]
        examples: ["The customer writes that …"]     # for `slo-router train` alone

Conditions are checked before any text of the request, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from slo_router.contract.settings.validation import Strict

ANY = "*"
UNSURE = "unsure"
RESERVED = ("default", UNSURE)  # the rest in a table of qualities, and requests whose category is not clear


def _is_free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"another name: {' and '.join(RESERVED)} have a meaning of their own")
    return name


Category = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$"), AfterValidator(_is_free)]  # `x-slo-category` takes it
Keyword = Annotated[str, Field(pattern=r"\S")]
Named = Annotated[str, Field(min_length=1, max_length=256)]


def _lowered(headers: object) -> object:
    """The headers with names in lower case, for header names are not case-sensitive."""
    return {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, Mapping) else headers


class Condition(Strict):
    """What must hold of a request: every field that is set. `*` stands for any name."""

    header: Annotated[dict[str, Named], BeforeValidator(_lowered)] = Field({}, description="request headers, by name")
    tag: Named | None = Field(None, description="one of LiteLLM's request tags, the key's and the team's among them")
    tool: Named | None = Field(None, description="the name of a tool that the request offers")
    json_schema: Named | None = Field(None, description="the name of the JSON schema that the answer must keep")
    system_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = Field(
        None, description="of the system prompt, or of a block of it: 16,384 characters as UTF-8; 8 digits or more"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        if not self.model_dump(exclude_defaults=True):
            raise ValueError(f"one of {', '.join(type(self).model_fields)}")
        return self


def _listed(value: object) -> object:
    return [value] if isinstance(value, Mapping) else value


class OwnCategory(Strict):
    """One of a team's own categories, or more words for a built-in one."""

    when: Annotated[list[Condition], BeforeValidator(_listed)] = Field(
        [], description="a condition, or a list of which one must hold"
    )
    words: list[Keyword] = Field([], description="words or phrases that name it, for `categorizer: rules`")
    examples: list[Keyword] = Field([], description="prompts of this category, for `slo-router train`")


def _by_words(value: object) -> object:
    return {"words": value} if isinstance(value, list) else value


OwnCategories = dict[Category, Annotated[OwnCategory, BeforeValidator(_by_words)]]
