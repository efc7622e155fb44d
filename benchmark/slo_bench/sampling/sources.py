"""The kinds of files that requests come from, told apart by their content, and how an entry becomes a candidate.

    records      the router's request records (`slo_router:requests`, `log.jsonl_path`), one a line
    spend-logs   what LiteLLM answers on /spend/logs (a JSON array), or its rows one a line
    batch        an OpenAI batch input file: custom_id, method, url, body

Records hold LiteLLM's `messages` alone. The body in a spend log has tools and instructions too, but is cut to
MAX_STRING_LENGTH_PROMPT_IN_DB characters (2,048 unless set otherwise) a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

from slo_bench.sampling.bodies import UnusableError, read_messages, read_tools
from slo_bench.sampling.candidate import Candidate, Json, LeftOut

Outcome: TypeAlias = Candidate | LeftOut

_CATEGORY = re.compile(r"[a-z0-9_.-]{1,64}")  # as a workload file and the router take it
_UNSURE = "unsure"  # what the router's categorizer says where it does not know: nothing to measure by
_CHAT_CALLS = frozenset(
    {
        "completion",
        "text_completion",
        "responses",
        "anthropic_messages",
        "acompletion",
        "atext_completion",
        "aresponses",
    }
)
_NO_RAW = msgspec.Raw(b"null")


class Kind(StrEnum):
    """What a file holds."""

    RECORDS = "records"
    SPEND_LOGS = "spend-logs"
    BATCH = "batch"


_MARKS: Mapping[Kind, frozenset[str]] = {
    Kind.RECORDS: frozenset({"call_type", "outcome", "decision"}),
    Kind.SPEND_LOGS: frozenset({"request_id", "call_type", "spend"}),
    Kind.BATCH: frozenset({"custom_id", "body"}),
}


class _Record(msgspec.Struct):
    call_type: str | None
    category: str | None
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    outcome: str
    prompt: msgspec.Raw = _NO_RAW


class _SpendLog(msgspec.Struct):
    call_type: str
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


def kind_of(entry: bytes) -> Kind | None:
    """What an entry is; `None` where it is none of the three. Raises msgspec.DecodeError where it is no JSON."""
    fields = msgspec.json.decode(entry)
    return next((kind for kind, mark in _MARKS.items() if isinstance(fields, dict) and mark <= set(fields)), None)


def reader_of(kind: Kind, category: str | None) -> Callable[[bytes], Outcome]:
    """A function that reads one entry. `category` is that of requests whose entry names none."""
    read = _READERS[kind]

    def read_entry(entry: bytes) -> Outcome:
        try:
            return read(entry, category)
        except UnusableError as error:
            return error.why
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return LeftOut.MALFORMED

    return read_entry


def _record(entry: bytes, category: str | None) -> Candidate:
    record = _RECORD.decode(entry)
    if record.outcome in {"error", "cache_hit"}:
        raise UnusableError(LeftOut.FAILED if record.outcome == "error" else LeftOut.CACHED)
    _need_chat(record.call_type)
    messages = read_messages(_json(record.prompt))
    completion_tokens = record.completion_tokens if record.outcome == "success" else None
    return Candidate(
        _category(record.category, category), record.stream, messages, record.prompt_tokens, completion_tokens
    )


def _spend_log(entry: bytes, category: str | None) -> Candidate:
    row = _SPEND_LOG.decode(entry)
    if row.status == "failure":
        raise UnusableError(LeftOut.FAILED)
    if str(row.cache_hit).lower() == "true":
        raise UnusableError(LeftOut.CACHED)
    _need_chat(row.call_type)
    body = _mapping(row.proxy_server_request)
    if not body:
        body = {"messages": _json(row.messages)}
    decision = _mapping(row.metadata)
    for name in ("spend_logs_metadata", "slo_router"):
        inner = decision.get(name)
        decision = inner if isinstance(inner, Mapping) else {}
    return _of_body(body, _category(decision.get("category"), category), row.prompt_tokens, row.completion_tokens)


def _batch_line(entry: bytes, category: str | None) -> Candidate:
    line = _BATCH_LINE.decode(entry)
    if not line.url.endswith(("/completions", "/responses")):
        raise UnusableError(LeftOut.NOT_CHAT)
    return _of_body(line.body, _category(None, category))


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


def _need_chat(call_type: str | None) -> None:
    if call_type not in _CHAT_CALLS:
        raise UnusableError(LeftOut.NOT_CHAT)


def _category(named: object, fallback: str | None) -> str:
    if isinstance(named, str) and named != _UNSURE and _CATEGORY.fullmatch(named):
        return named
    if fallback is None:
        raise UnusableError(LeftOut.NO_CATEGORY)
    return fallback


def _json(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw)


def _mapping(raw: msgspec.Raw) -> Json:
    """A JSON column: LiteLLM's drivers return it as it is, or as text."""
    value = _json(raw)
    if isinstance(value, str) and value:
        value = msgspec.json.decode(value)
    return value if isinstance(value, Mapping) else {}


_RECORD = msgspec.json.Decoder(_Record)
_SPEND_LOG = msgspec.json.Decoder(_SpendLog)
_BATCH_LINE = msgspec.json.Decoder(_BatchLine)
_READERS: Mapping[Kind, Callable[[bytes, str | None], Candidate]] = {
    Kind.RECORDS: _record,
    Kind.SPEND_LOGS: _spend_log,
    Kind.BATCH: _batch_line,
}
