"""Makes a candidate of one entry, for each kind of source.

Records have only LiteLLM's `messages`. The body in a spend log also has tools and instructions, but each of its texts
is cut to MAX_STRING_LENGTH_PROMPT_IN_DB characters (2,048 by default).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from slo_bench.sampling.bodies import UnusableError, read_messages, read_tools
from slo_bench.sampling.candidate import Candidate, Json, LeftOut

_CATEGORY = re.compile(r"[a-z0-9_.-]{1,64}")  # as a workload file and the router take it
_UNSURE = "unsure"  # what the router's categorizer says where it does not know: no category to measure
_CHAT_CALLS = frozenset({
    "acompletion", "anthropic_messages", "aresponses", "atext_completion", "completion", "responses", "text_completion",
})  # fmt: skip
_NO_RAW = msgspec.Raw(b"null")


class EntryFilter(NamedTuple):
    """`category` is for requests without one. With a `group` of model_list, only its requests count."""

    category: str | None = None
    group: str | None = None


class _Record(msgspec.Struct):
    call_type: str | None
    model_group: str | None
    category: str | None
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    outcome: str
    prompt: msgspec.Raw = _NO_RAW


class _SpendLog(msgspec.Struct):
    call_type: str
    model_group: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: str | None = None
    cache_hit: str | bool | None = None
    metadata: msgspec.Raw = _NO_RAW
    messages: msgspec.Raw = _NO_RAW
    proxy_server_request: msgspec.Raw = _NO_RAW


class _BatchLine(msgspec.Struct):
    custom_id: str
    url: str
    body: dict[str, object]


def read_record(entry: bytes, wanted: EntryFilter) -> Candidate:
    """The router's request record. Raises UnusableError, msgspec.DecodeError."""
    record = _RECORD.decode(entry)
    _need(record.model_group, record.call_type, wanted)
    if record.outcome in {"error", "cache_hit"}:
        raise UnusableError(LeftOut.FAILED if record.outcome == "error" else LeftOut.CACHED)
    messages = read_messages(_json(record.prompt))
    category = _category(record.category, wanted)
    completion_tokens = record.completion_tokens if record.outcome == "success" else None
    return Candidate(category, record.stream, messages, record.prompt_tokens, completion_tokens)


def read_spend_log(entry: bytes, wanted: EntryFilter) -> Candidate:
    """A row of LiteLLM_SpendLogs. Raises UnusableError, msgspec.DecodeError."""
    row = _SPEND_LOG.decode(entry)
    _need(row.model_group, row.call_type, wanted)
    if row.status == "failure":
        raise UnusableError(LeftOut.FAILED)
    if str(row.cache_hit).lower() == "true":
        raise UnusableError(LeftOut.CACHED)
    body = _mapping(row.proxy_server_request) or {"messages": _json(row.messages)}
    decision = _mapping(row.metadata)
    for name in ("spend_logs_metadata", "slo_router"):
        inner = decision.get(name)
        decision = inner if isinstance(inner, Mapping) else {}
    return _of_body(body, _category(decision.get("category"), wanted), row.prompt_tokens, row.completion_tokens)


def read_batch_line(entry: bytes, wanted: EntryFilter) -> Candidate:
    """A line of an OpenAI batch input file. Raises UnusableError, msgspec.DecodeError."""
    line = _BATCH_LINE.decode(entry)
    model = line.body.get("model")
    call_type = "completion" if line.url.endswith(("/completions", "/responses")) else None
    _need(model if isinstance(model, str) else None, call_type, wanted)
    return _of_body(line.body, _category(None, wanted))


def _of_body(
    body: Json, category: str, prompt_tokens: int | None = None, completion_tokens: int | None = None
) -> Candidate:
    prompt = next((body[name] for name in ("messages", "input", "prompt") if body.get(name)), None)
    limits = (body.get(name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"))
    response_format = body.get("response_format")
    return Candidate(
        category,
        stream=body.get("stream") is True,
        messages=read_messages(prompt, body.get("instructions") or body.get("system")),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        max_tokens=next((limit for limit in limits if isinstance(limit, int) and limit > 0), None),
        tools=read_tools(body.get("tools")),
        response_format=response_format if isinstance(response_format, Mapping) else None,
    )


def _need(group: str | None, call_type: str | None, wanted: EntryFilter) -> None:
    if wanted.group is not None and group != wanted.group:
        raise UnusableError(LeftOut.OTHER_GROUP)
    if call_type not in _CHAT_CALLS:
        raise UnusableError(LeftOut.NOT_CHAT)


def _category(named: object, wanted: EntryFilter) -> str:
    if isinstance(named, str) and named != _UNSURE and _CATEGORY.fullmatch(named):
        return named
    if wanted.category is None:
        raise UnusableError(LeftOut.NO_CATEGORY)
    return wanted.category


def _json(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw)


def _mapping(raw: msgspec.Raw) -> Json:
    """A JSON column, which LiteLLM's drivers return as JSON or as text; empty for other values."""
    value = _json(raw)
    if isinstance(value, str) and value:
        value = msgspec.json.decode(value)
    return value if isinstance(value, Mapping) else {}


_RECORD = msgspec.json.Decoder(_Record)
_SPEND_LOG = msgspec.json.Decoder(_SpendLog)
_BATCH_LINE = msgspec.json.Decoder(_BatchLine)
