"""A part of a message that is no text: what a deployment must be able to read for it, and how much text it has. Pure.

A part's MIME type counts before its kind: clients send a PDF as a picture, and LiteLLM takes sound and films as files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Part = Mapping[str, object]

KINDS: Mapping[str, str] = {  # what they need; their tokens are in no string
    **dict.fromkeys(("image", "image_url", "input_image", "computer_call_output", "image_generation_call"), "vision"),
    **dict.fromkeys(("file", "input_file", "document"), "pdf"),
    **dict.fromkeys(("video_url", "input_video"), "video"),
    **dict.fromkeys(("input_audio", "audio_url"), "audio"),
}
_FILES = frozenset((*KINDS, "container_upload"))
_TYPES = {"image/": "vision", "audio/": "audio", "video/": "video", "application/pdf": "pdf"}
_TEXT_URLS = ("data:text/", "data:application/json")
_DATA = "data:"
_HEAD_CHARS = 256  # of a data URL, before its data
_GOOGLES = "https://generativelanguage.googleapis.com/"  # what was uploaded there, as opposed to any other address
_LITELLMS = "bGl0ZWxsbV9wcm94e"  # the beginning of a file's id that LiteLLM gave, which knows each account's own


def need_of(kind: str, part: Part) -> str:
    """What a part of one of `KINDS` needs: `vision`, `pdf`, `video` or `audio`."""
    told = (need for said in _types(kind, part) for start, need in _TYPES.items() if said.startswith(start))
    return next(told, KINDS[kind])


def is_written_out(part: Part) -> bool:
    """Whether it is a document of Anthropic's whose text stands in the request."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")


def chars_of_text_file(part: Part) -> int:
    """Characters of a file whose text stands in the request as a data URL; 0 of any other."""
    inner = part.get("file")
    data = (inner if isinstance(inner, dict) else part).get("file_data")
    if not isinstance(data, str) or not data.startswith(_TEXT_URLS):
        return 0
    return (len(data) - data.find(",", 0, _HEAD_CHARS)) * 3 // 4


def files_of(messages: object) -> Iterator[str]:
    """The names of files that were uploaded to a provider, the latest first. `messages` may come from any route."""
    for message in reversed(messages) if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            continue
        for part in reversed(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind in _FILES:
                yield from _named(part)


def _named(part: Part) -> Iterator[str]:
    for owner in (part, part.get("file"), part.get("source")):
        name = owner.get("file_id") if isinstance(owner, Mapping) else None
        if isinstance(name, str) and _is_uploaded(name):
            yield name


def _is_uploaded(name: str) -> bool:
    is_address = "://" in name and not name.startswith(_GOOGLES)
    return bool(name) and not is_address and not name.startswith(_LITELLMS)


def _types(kind: str, part: Part) -> Iterator[str]:
    """The MIME types that it names, in the field for it or in a data URL."""
    inner = part.get(kind)
    for owner in (part, inner, part.get("source")):
        if not isinstance(owner, Mapping):
            continue
        for field in ("format", "media_type", "file_data", "url", "image_url"):
            said = owner.get(field)
            if isinstance(said, str):
                yield said[len(_DATA) : _HEAD_CHARS] if said.startswith(_DATA) else said
