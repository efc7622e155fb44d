"""Reads a row of LiteLLM's table `LiteLLM_SpendLogs`, as the database or an export has it.

A few fields of `metadata` are read. `metadata` may be JSON, or JSON inside a text. `messages`, `proxy_server_request`
and `request_tags` are read only where tasks are to be told from them (`Categorize`), and never kept. A column that a
version of LiteLLM lacks may be missing here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from slo_router.operator.estimate.reading.rows import NO_TASK, Row, fate_of, key_of

Count: TypeAlias = int | float | None
Categorize: TypeAlias = Callable[[str, Mapping[str, object]], str | None]
"""The task of a group's request, by what was kept of it."""

COLUMNS = (
    *("startTime", "call_type", "api_key", "spend", "prompt_tokens", "completion_tokens", "model", "model_id"),
    *("model_group", "cache_hit", "session_id", "status", "metadata"),
)
TEXT_COLUMNS = ("messages", "proxy_server_request", "request_tags")  # in newer versions the second holds the first
NEEDED = ("startTime", "spend", "prompt_tokens", "completion_tokens", "model")


class TokenDetails(msgspec.Struct, gc=False):
    """Parts of a prompt's tokens."""

    cached_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None


class Usage(msgspec.Struct, gc=False):
    """What the provider reported."""

    prompt_tokens_details: TokenDetails | None = None
    cache_read_input_tokens: Count = None


class Decided(msgspec.Struct, gc=False):
    """What this plugin noted, in shadow or not."""

    category: str | None = None


class Noted(msgspec.Struct, gc=False):
    """What is read of `spend_logs_metadata`."""

    slo_router: Decided | None = None


class Metadata(msgspec.Struct, gc=False):
    """What is read of a row's metadata."""

    user_api_key_alias: str | None = None
    status: str | None = None
    usage_object: Usage | None = None
    additional_usage_values: Usage | None = None
    spend_logs_metadata: Noted | None = None


class SpendLog(msgspec.Struct, gc=False, rename={"started_at": "startTime"}):
    """The columns that are read, as JSON has them."""

    started_at: str | float
    spend: float | None
    prompt_tokens: Count
    completion_tokens: Count
    model: str | None
    call_type: str | None = None
    api_key: str | None = None
    model_id: str | None = None
    model_group: str | None = None
    cache_hit: str | bool | None = None
    session_id: str | None = None
    status: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    messages: msgspec.Raw = msgspec.Raw(b"null")
    proxy_server_request: msgspec.Raw = msgspec.Raw(b"null")
    request_tags: msgspec.Raw = msgspec.Raw(b"null")


decode = msgspec.json.Decoder(SpendLog, strict=False).decode
_decode_metadata = msgspec.json.Decoder(Metadata | None).decode
_NOTHING = Metadata()
_NO_DETAILS = TokenDetails()
_NO_USAGE = Usage()
_NULL = msgspec.Raw(b"null")
_BY_LITELLM = "User-Agent: "  # LiteLLM adds such a tag to each request; in the proxy no condition sees it


def log_of_text(cells: Sequence[str | None]) -> SpendLog:
    """A spend log from texts in the order of COLUMNS and TEXT_COLUMNS; the latter may be missing. Raises ValueError."""
    started, call_type, key, spend, prompt, answer, model, model_id, group, hit, session, status, metadata = cells[:13]
    texts = [msgspec.Raw((cell or "null").encode()) for cell in cells[13:]] or [_NULL] * len(TEXT_COLUMNS)
    return SpendLog(
        started_at=started or "",
        spend=float(spend) if spend else None,
        prompt_tokens=int(float(prompt or 0)),
        completion_tokens=int(float(answer or 0)),
        model=model,
        call_type=call_type,
        api_key=key,
        model_id=model_id,
        model_group=group,
        cache_hit=hit,
        session_id=session,
        status=status,
        metadata=msgspec.Raw(metadata.encode()) if metadata else _NULL,
        messages=texts[0],
        proxy_server_request=texts[1],
        request_tags=texts[2],
    )


def row_of(log: SpendLog, categorize: Categorize | None = None) -> Row:
    """The row of a spend log. Raises ValueError (`msgspec.DecodeError` is one) where it is no row."""
    metadata = metadata_of(log.metadata)
    usage, noted = metadata.usage_object or _NO_USAGE, metadata.spend_logs_metadata
    details = usage.prompt_tokens_details or _NO_DETAILS
    cached = (metadata.additional_usage_values or _NO_USAGE).cache_read_input_tokens or details.cached_tokens
    task = noted.slo_router.category if noted is not None and noted.slo_router is not None else None
    group = log.model_group or log.model or ""
    if task is None and categorize is not None:
        task = categorize(group, request_of(log))
    started = log.started_at
    return Row(
        seconds(started) if isinstance(started, str) else float(started),
        fate_of(log.call_type or "", log.status or metadata.status or "", str(log.cache_hit or "")),
        group,
        log.model_id or log.model or "",
        log.model or "",
        key_of(metadata.user_api_key_alias, log.api_key),
        task or NO_TASK,
        log.session_id or "",
        int(log.prompt_tokens or 0),
        int(log.completion_tokens or 0),
        int(cached or 0),
        log.spend,
        has_media=bool(details.audio_tokens or details.image_tokens),
    )


def metadata_of(raw: msgspec.Raw | bytes) -> Metadata:
    """The fields that are read; empty where `raw` is something else."""
    try:
        found = bytes(raw)
        if found.startswith(b'"'):
            found = msgspec.json.decode(found, type=str).encode()
        return _decode_metadata(found) or _NOTHING
    except msgspec.DecodeError:
        return _NOTHING


def request_of(log: SpendLog) -> Mapping[str, object]:
    """What was kept of a request's body, with its tags in the place where a request has them."""
    body, messages, tags = map(_loaded, (log.proxy_server_request, log.messages, log.request_tags))
    request = dict(body) if isinstance(body, Mapping) else {}
    if messages:
        request |= messages if isinstance(messages, Mapping) else {"messages": messages}
    if isinstance(tags, list):  # also has the tags of key and team
        own = [tag for tag in tags if not str(tag).startswith(_BY_LITELLM)]
        request["metadata"] = {"tags": own}
    return request


def _loaded(raw: msgspec.Raw) -> object:
    try:
        found = msgspec.json.decode(raw)
        return msgspec.json.decode(found) if isinstance(found, str) else found
    except msgspec.DecodeError:
        return None


def seconds(text: str) -> float:
    """A time as LiteLLM or Postgres writes it → Unix seconds; without a zone it is UTC. Raises ValueError."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
