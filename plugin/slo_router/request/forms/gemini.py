"""A request in Gemini's own form (`generateContent`), in the terms of a chat completion: to be read, not to be sent.

    contents            messages
    parts               text, files by their MIME type, calls of tools and what these answered
    systemInstruction   system
    tools               functions; those that Google runs, by name
    config              limit and number of answers, JSON schema, thinking, sound; LiteLLM's name of `generationConfig`

Clients write names in camel or in snake case. Nothing is raised, whatever stands in a request. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Request = Mapping[str, object]

_ROLES = {"model": "assistant"}
_KINDS = {"image": "image_url", "audio": "input_audio", "video": "input_video"}
_WRITTEN = ("text/", "application/json")
_ELSE = "input_file"
_HUMP = re.compile("_([a-z])")


def as_chat(request: Request) -> Request:
    """The same request with the fields of a chat completion. A request in another form stays as it came."""
    contents = request.get("contents")
    if not contents:
        return request
    own = _camel(request)
    config = _camel(own.get("config") or own.get("generationConfig"))
    thinking, modalities = _camel(config.get("thinkingConfig")), config.get("responseModalities")
    schema, level = config.get("responseSchema") or config.get("responseJsonSchema"), thinking.get("thinkingLevel")
    return {
        **request,
        "messages": [_message(one) for one in (contents if isinstance(contents, list) else [contents])],
        "system": list(_parts(own.get("systemInstruction"))),
        "tools": list(_tools(request.get("tools"))),
        "max_tokens": config.get("maxOutputTokens"),
        "n": config.get("candidateCount"),
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}} if schema else None,
        "thinking": {"budget_tokens": thinking.get("thinkingBudget")} if thinking else None,
        "reasoning_effort": level.lower() if isinstance(level, str) else None,
        "modalities": [str(one).lower() for one in modalities] if isinstance(modalities, list) else None,
    }


def _message(content: object) -> dict[str, object]:
    role = content.get("role") if isinstance(content, Mapping) else None
    return {"role": _ROLES.get(str(role), "user"), "content": list(_parts(content))}


def _parts(content: object) -> Iterator[object]:
    parts = content.get("parts") if isinstance(content, Mapping) else content
    for part in parts if isinstance(parts, list) else [parts] if parts else ():
        yield {"type": "text", "text": part} if isinstance(part, str) else _part(_camel(part))


def _part(part: Request) -> object:
    call, answer, signature = part.get("functionCall"), part.get("functionResponse"), part.get("thoughtSignature")
    signed = {"provider_specific_fields": {"thought_signature": signature}} if signature else {}
    for field in ("inlineData", "fileData"):
        if isinstance(part.get(field), Mapping):
            return _file(_camel(part[field]))
    if isinstance(call, Mapping):
        return {"type": "tool_use", "name": call.get("name"), "input": call.get("args"), **signed}
    if isinstance(answer, Mapping):
        return {"type": "tool_result", "content": [answer.get("response"), *_parts(answer)]}
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"], **signed}
    return part  # code that was run, and what it printed


def _file(file: Request) -> object:
    kind, data = str(file.get("mimeType")), file.get("data")
    if isinstance(data, str) and kind.startswith(_WRITTEN):
        return {"type": "text", "text": data[: len(data) * 3 // 4]}  # as long as the text that the base64 holds
    return {"type": _KINDS.get(kind.partition("/")[0], _ELSE), "file_id": file.get("fileUri")}


def _tools(tools: object) -> Iterator[object]:
    for tool in tools if isinstance(tools, list) else ():
        for name, value in _camel(tool).items():
            if name == "functionDeclarations" and isinstance(value, list):
                yield from ({"type": "function", "function": one} for one in value)
            else:
                yield {"type": name}


def _camel(owner: object) -> dict[str, object]:
    """The fields of an object under their names in camel case; none where it is no object."""
    named = owner.items() if isinstance(owner, Mapping) else ()
    return {_HUMP.sub(lambda found: found[1].upper(), str(name)): value for name, value in named}
