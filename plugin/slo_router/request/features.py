"""The features of a request: sizes, needs and category. The time to find them grows with the number of texts in a
prompt, not with their length; only the tools' schemas are read, a microsecond for each kilobyte.

Prompt tokens are estimated as characters × a ratio. The ratio is learned per category from the usage that servers
report. Python stores a text's length and whether it is ASCII, so neither is counted here. In other texts a sample tells
the share of other scripts: a character of Greek or Hindi is about half a token, one of Chinese about one. The tools'
schemas are encoded as JSON to learn their length: one of an agent's tools may be as long as ten others. Tokens of tools
and of images are learned separately, from requests with only one of them besides text. An error matters most near a
full window, where the filter keeps a margin.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from msgspec.json import encode

from slo_router.contract.model import Features
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.request.categories import Categorizer, instruction_windows
from slo_router.request.conditions import Rule, answer_form
from slo_router.request.forms.parts import KINDS, chars_of_text_file, is_written_out, need_of
from slo_router.request.usage import Learned, scale

TOKENS_PER_CHAR = 0.25  # English prose and code in the common vocabularies
CHARS_PER_TOOL = 600  # where its schema can't be encoded as JSON
TOKENS_PER_FILE = 3_000  # two pages of a PDF, as text and as images
TOKENS_PER_MESSAGE = 4  # role and separators
MOST_TOKENS_PER_MESSAGE, MOST_BYTES_PER_CHAR = 20, 4
TOKENS_PER_OTHER, TOKENS_PER_WIDE = 0.5, 1.0  # older vocabularies need more tokens for other scripts, newer ones fewer
SAMPLE_CHARS = 256  # of all texts together, unless they are many
LEAST_SAMPLE = 16  # characters of each
OUTPUT_TOKENS: Mapping[str, int] = {"ner": 120, "summarization": 200, "reasoning": 500, "code": 500, "chat": 300}
OUTPUT_TOKENS_ELSE = 300
MAX_OUTPUT_TOKENS = 10**9  # a client may write any number
MAX_CHOICES = 128  # what OpenAI allows
MAX_BUDGET = 2**20
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MAX_NESTING = 10  # messages, their parts, the parts of a tool's result, the texts of a document in it
NO_TEXT = frozenset(  # fields that no model reads as they stand, or that repeat another field
    {
        *("type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "status", "cache_control", "signature"),
        *("audio", "annotations", "citations", "logprobs", "thinking_blocks", "reasoning_details"),
        *("provider_specific_fields", "extra_content"),
    }
)
ENCRYPTED = "encrypted_content"  # holds a model's thoughts, a compacted history or a page that it found
ENVELOPE_CHARS = 650  # around what is encrypted, as Codex counts
_OTHER = re.compile("[\u0370-\U0010ffff]")  # from Greek on
_WIDE = re.compile("[\u2e80-\U0010ffff]")  # from the CJK radicals on
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Content(NamedTuple):
    """Size and kinds of a request's content; sizes are characters, the rest are counts."""

    chars: int
    beyond: float  # tokens that other scripts take beyond `TOKENS_PER_CHAR`
    images: int
    audio: bool
    messages: int
    files: int = 0
    video: bool = False
    not_ascii: int = 0  # characters of texts that are not all ASCII


def extract(
    request: Mapping[str, object],
    categorizer: Categorizer,
    client_category: str | None,
    learned: Learned,
    rule: Rule | None = None,
) -> Features:
    """The features of one call. `request` holds its parameters: messages, prompt or input, tools, max_tokens, …

    The category is the client's, else the rule's, else the categorizer's.
    """
    body = body_of(request)
    category, source = client_category, "client"
    if category is None:
        category, source = tell(request, body, categorizer, rule)
    content = measure(body)
    tools = request.get("tools") or request.get("functions")
    tool_chars = _chars_of_tools(tools) if isinstance(tools, list) else 0
    text_tokens = round(
        (content.chars * TOKENS_PER_CHAR + content.beyond + content.messages * TOKENS_PER_MESSAGE)
        * learned.prompt_factor.get(category, 1.0)
    )
    tool_tokens = round(tool_chars * TOKENS_PER_CHAR * learned.tool_factor)
    other_tokens = tool_tokens + round(content.images * learned.image_tokens + content.files * TOKENS_PER_FILE)
    expected = OUTPUT_TOKENS.get(category, OUTPUT_TOKENS_ELSE)
    allowed, choices = _output_limit(request), _choices(request)
    return Features(
        category=category,
        category_source=source,
        prompt_tokens=text_tokens + other_tokens,
        output_tokens=(expected if allowed is None else min(expected, allowed)) * choices,
        reserved_tokens=expected if allowed is None else allowed,
        needs=_needs(request, content, has_tools=bool(tools)),
        stream=request.get("stream") is True,
        limit_tokens=allowed,
        text_tokens=text_tokens,
        tool_tokens=tool_tokens,
        images=content.images,
        files=content.files,
        choices=choices,
        effort=_effort(request),
        most_tokens=_most_tokens(content, tool_chars),
        learned=scale(learned, category, tools=tool_tokens, images=content.images),
    )


def _most_tokens(content: Content, tool_chars: int) -> int | None:
    """The most tokens that the prompt may have: a token has at least a byte. `None` with images, audio or files."""
    if content.images or content.files or content.audio or content.video:
        return None
    most_bytes = content.chars + (MOST_BYTES_PER_CHAR - 1) * content.not_ascii + tool_chars
    return most_bytes + content.messages * MOST_TOKENS_PER_MESSAGE


def body_of(request: Mapping[str, object]) -> object:
    """The messages or the prompt, the system prompt before them."""
    body = request.get("messages") or request.get("input") or request.get("prompt") or None
    system = request.get("system") or request.get("instructions")  # Anthropic's and Responses' own fields
    if system:
        body = [
            {"role": "system", "content": system},
            *(body if isinstance(body, list) else [{"role": "user", "content": body}]),
        ]
    return body


def tell(request: Mapping[str, object], body: object, categorizer: Categorizer, rule: Rule | None) -> tuple[str, str]:
    """The category of a request whose client named none, and the source that told it."""
    category = None if rule is None else rule(request)
    if category is not None:
        return category, "rule"
    category = categorizer(instruction_windows(body))
    return (UNSURE, UNSURE) if category is None else (category, "categorizer")


def measure(body: object) -> Content:
    """Size of a prompt, a list of messages or a list of content parts; anything else counts as empty.

    Clients and providers add kinds of parts all the time. So every string counts, unless it is known to be no text.
    """
    messages = [body] if isinstance(body, str) else body if isinstance(body, list) else []
    found = _Found([], Counter(), Counter())
    _look_into(messages, found, MAX_NESTING)
    texts, kinds, more = found
    count = 1 if messages and isinstance(messages[0], int) else len(messages)
    others = [text for text in texts if not text.isascii()]
    return Content(
        chars=sum(map(len, texts)) + more["hidden"] + round(more["ids"] / TOKENS_PER_CHAR),
        beyond=_beyond(others),
        images=kinds["vision"],
        audio=kinds["audio"] > 0,
        messages=count,
        files=kinds["pdf"],
        video=kinds["video"] > 0,
        not_ascii=sum(map(len, others)),
    )


class _Found(NamedTuple):
    texts: list[str]
    kinds: Counter[str]  # parts that are no text, by what they need
    more: Counter[str]  # `hidden` characters that a provider encrypted or base64 holds, `ids` of tokens


def _look_into(value: object, found: _Found, nesting: int, no_text: Container[object] = NO_TEXT) -> None:
    """Adds what stands in a list, or in a message, part or other object. `no_text` names fields that are left out."""
    if nesting <= 0:
        return
    if isinstance(value, dict):
        _look_into_object(value, found, nesting, no_text)
    elif isinstance(value, list) and value:
        if isinstance(value[0], int):
            found.more["ids"] += len(value)
            return
        for one in value:
            if isinstance(one, dict):
                _look_into_object(one, found, nesting - 1, no_text)
            elif isinstance(one, str):
                found.texts.append(one)
            else:
                _look_into(one, found, nesting - 1, no_text)


def _look_into_object(value: Mapping[str, object], found: _Found, nesting: int, no_text: Container[object]) -> None:
    kind = value.get("type") if no_text else None
    if isinstance(kind, str) and kind in KINDS and not is_written_out(value):
        chars = chars_of_text_file(value)
        found.more["hidden"] += chars
        found.kinds[need_of(kind, value)] += not chars
        return
    for key, inner in value.items():
        if key in no_text or inner is None:
            continue
        if not isinstance(inner, str):
            _look_into(inner, found, nesting - 1, () if key == "input" else no_text)  # what a tool is asked is all text
        elif key == ENCRYPTED:
            found.more["hidden"] += max(len(inner) * 3 // 4 - ENVELOPE_CHARS, 0)
        else:
            found.texts.append(inner)


def _chars_of_tools(tools: Sequence[object]) -> int:
    """Characters of the tools' schemas as JSON."""
    try:
        return len(encode(tools)) if tools else 0
    except (TypeError, ValueError, RecursionError):  # no JSON
        return CHARS_PER_TOOL * len(tools)


def _beyond(others: Sequence[str]) -> float:
    size, tokens = max(SAMPLE_CHARS // (len(others) or 1), LEAST_SAMPLE), 0.0
    for text in others:
        sample = text[:: -(-len(text) // size) | 1]  # an odd step: texts repeat themselves
        wide, other = len(_WIDE.findall(sample)), len(_OTHER.findall(sample))
        more = wide * (TOKENS_PER_WIDE - TOKENS_PER_OTHER) + other * (TOKENS_PER_OTHER - TOKENS_PER_CHAR)
        tokens += more / len(sample) * len(text)
    return tokens


def _choices(request: Mapping[str, object]) -> int:
    """How many answers the request asks for. Each one costs, also those that `best_of` does not return."""
    if "n" not in request and "best_of" not in request:
        return 1
    return min(max(_positive(request, "n"), _positive(request, "best_of"), 1), MAX_CHOICES)


def _output_limit(request: Mapping[str, object]) -> int | None:
    """The largest limit that the request names, in tokens. Servers differ in which of several they apply."""
    named = [_positive(request, name) for name in _OUTPUT_LIMITS if name in request]
    return min(max(named), MAX_OUTPUT_TOKENS) or None if named else None


def _effort(request: Mapping[str, object]) -> str:
    """How much thinking the request asks for: an effort by name, or `~` and Anthropic's budget in tokens.

    A budget is rounded down to a power of two, so that few values exist. Empty where nothing known is asked for.
    """
    asked = request.get("reasoning_effort") or request.get("reasoning") or request.get("output_config")
    if isinstance(asked, dict):
        asked = asked.get("effort")
    if asked in EFFORTS:
        return str(asked)
    thinking = request.get("thinking")
    budget = _positive(thinking, "budget_tokens") if isinstance(thinking, dict) else 0
    return f"~{1 << min(budget, MAX_BUDGET).bit_length() - 1}" if budget else ""


def _positive(request: Mapping[str, object], name: str) -> int:
    """The named value if it is a whole number above 0, else 0."""
    number = request.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0


def _needs(request: Mapping[str, object], content: Content, *, has_tools: bool) -> frozenset[str]:
    schema, modalities = answer_form(request) is not None, request.get("modalities")
    speaks = isinstance(modalities, list) and "audio" in modalities
    if not (has_tools or content.images or content.audio or content.files or content.video or schema or speaks):
        return frozenset()
    flags: Sequence[tuple[str, object]] = (
        ("tools", has_tools),
        ("vision", content.images),
        ("audio", content.audio),
        ("pdf", content.files),
        ("video", content.video),
        ("json_schema", schema),
        ("audio_output", speaks),
    )
    return frozenset(name for name, needed in flags if needed)
