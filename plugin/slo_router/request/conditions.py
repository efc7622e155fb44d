"""Categories by what a request is (headers, tags, tools, schema, system prompt), before any text is looked at.

The conditions come from `groups.NAME.categories`, in the order of the file; the first that holds names the category.
Every part of a request is read at most once, and only if a condition asks for it. The time does not grow with the
prompt: of a system prompt, and of each of its first blocks, the first `SYSTEM_CHARS` characters are hashed. Agents put
the day, a folder and their version into the prompt, so its hash changes. The hash of a block may stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import sha256

from slo_router.contract.settings.tasks.own import ANY, Condition, OwnCategory

SYSTEM_CHARS = 16_384
MOST_BLOCKS = 8  # of a system prompt that are hashed
BILLING = "x-anthropic-billing-header:"  # a block by Claude Code: new in each request, and read by no model
MOST_TOOLS = 256  # that are looked at

Request = Mapping[str, object]
Rule = Callable[[Request], str | None]


def rule_of(categories: Mapping[str, OwnCategory]) -> Rule | None:
    """A rule that names the category of the first condition that holds, else `None`. Without conditions, no rule.

    Whatever stands in a request, the rule raises nothing.
    """
    conditions = [(name, one) for name, own in categories.items() for one in own.when]
    if not conditions:
        return None

    def rule(request: Request) -> str | None:
        traits = _Traits(request)
        return next((name for name, condition in conditions if traits.keep(condition)), None)

    return rule


def answer_form(request: Request) -> Mapping[str, object] | None:
    """The JSON schema that the answer must keep, as chat completions, Responses or Messages ask for it."""
    form = request.get("response_format") or request.get("output_format")
    for name in ("text", "output_config"):
        within = request.get(name)
        if not form and isinstance(within, dict):
            form = within.get("format")
    return form if isinstance(form, dict) and form.get("type") == "json_schema" else None


def schema_of(form: Mapping[str, object]) -> object:
    """The schema itself in what `answer_form` found."""
    named = form.get("json_schema")
    return named.get("schema") if isinstance(named, Mapping) else form.get("schema")


class _Traits:
    """What conditions ask of one request; all values are untrusted."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def keep(self, asked: Condition) -> bool:
        """Whether every part of the condition holds."""
        return (
            all(_has(self._headers.get(name), value) for name, value in asked.header.items())
            and (asked.tag is None or _holds(self._tags, asked.tag))
            and (asked.tool is None or _holds(self._tools, asked.tool))
            and (asked.json_schema is None or _holds(self._schemas, asked.json_schema))
            and (asked.system_sha256 is None or any(one.startswith(asked.system_sha256) for one in self._system_sha256))
        )

    @cached_property
    def _headers(self) -> Mapping[str, object]:
        sent = self._request.get("proxy_server_request")
        headers = sent.get("headers") if isinstance(sent, Mapping) else None
        return headers if isinstance(headers, Mapping) else {}

    @cached_property
    def _tags(self) -> list[object]:
        found: list[object] = []
        for key in ("litellm_metadata", "metadata"):
            metadata = self._request.get(key)
            tags = metadata.get("tags") if isinstance(metadata, Mapping) else None
            found += tags if isinstance(tags, list) else ()
        return found

    @cached_property
    def _tools(self) -> list[object]:
        tools = self._request.get("tools") or self._request.get("functions")
        return [_tool_name(one) for one in tools[:MOST_TOOLS]] if isinstance(tools, list) else []

    @cached_property
    def _schemas(self) -> list[object]:
        form = answer_form(self._request)
        if form is None:
            return []
        named = form.get("json_schema")
        return [named.get("name") if isinstance(named, Mapping) else form.get("name")]

    @cached_property
    def _system_sha256(self) -> list[str]:
        """The hashes of the whole system prompt, and of its blocks, where it has several."""
        blocks = [text for text in _system_texts(self._request) if not text.startswith(BILLING)]
        texts = ["".join(blocks), *(blocks[:MOST_BLOCKS] if len(blocks) > 1 else ())]
        return [sha256(text[:SYSTEM_CHARS].encode("utf-8", "replace")).hexdigest() for text in texts if text]


def _has(said: object, asked: str) -> bool:
    return said is not None and asked in (ANY, said)


def _holds(found: list[object], asked: str) -> bool:
    return bool(found) if asked == ANY else asked in found


def _tool_name(tool: object) -> object:
    """A function's name, else the kind of a tool that the provider runs."""
    if not isinstance(tool, Mapping):
        return None
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else tool.get("name") or tool.get("type")


def _system_texts(request: Request) -> Iterator[str]:
    content = request.get("system") or request.get("instructions")  # Anthropic's and Responses' own fields
    messages = request.get("messages") or request.get("input")
    head = messages[0] if isinstance(messages, list) and messages else None
    if not content and isinstance(head, Mapping) and head.get("role") in ("system", "developer"):
        content = head.get("content")
    if isinstance(content, str):
        yield content
    parts: Iterable[object] = content if isinstance(content, list) else ()
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str):
            yield text
