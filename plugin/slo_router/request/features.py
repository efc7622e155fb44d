"""The features of a request: sizes, needs and category. The time to find them does not grow with the prompt.

Prompt tokens are estimated as characters × a ratio. The ratio is learned per category from the usage that servers
report. Python stores a text's length and whether it is ASCII, so neither is counted here. In other texts a sample tells
the share of other scripts: a character of Greek, Arabic or Hindi is about half a token, one of Chinese about one. A
sample of the tools' schemas is encoded as JSON to learn their length. The tokens of tools and of images are learned
separately, from requests with only one of the two
besides text. A wrong estimate matters only near a full context window, where the filter keeps a margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.json import encode

from slo_router.contract.model import Features
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.request.categories import Categorizer, instruction_windows
from slo_router.request.conditions import Rule, answer_form

TOKENS_PER_CHAR = 0.25  # English prose and code in the common vocabularies
TOKENS_PER_IMAGE = 1_000
CHARS_PER_TOOL = 600  # where its schema can't be encoded as JSON
TOKENS_PER_FILE = 3_000  # two pages of a PDF, as text and as images
TOKENS_PER_MESSAGE = 4  # role and separators
MOST_TOKENS_PER_MESSAGE = 20
BYTES_PER_CHAR = 4  # at most, in UTF-8
OTHER_FROM, TOKENS_PER_OTHER = (
    "\u0370",
    0.5,
)  # Greek: from here on, between what older and newer vocabularies make of it
WIDE_FROM, TOKENS_PER_WIDE = "\u2e80", 1.0  # CJK radicals
SAMPLE_CHARS = 256
SAMPLE_TOOLS = 8
OUTPUT_TOKENS: Mapping[str, int] = {"ner": 120, "summarization": 200, "reasoning": 500, "code": 500, "chat": 300}
OUTPUT_TOKENS_ELSE = 300
MAX_OUTPUT_TOKENS = 10**9  # a client may write any number
MAX_CHOICES = 128  # what OpenAI allows
MAX_BUDGET = 2**20
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
MAX_NESTING = 3  # messages, their parts, the parts of a tool result
IMAGES = ("image", "image_url", "input_image", "computer_call_output")
CALLS = ("tool_calls", "function_call", "arguments", "input", "action")  # of a tool, on every route
THOUGHTS = ("thinking", "reasoning_content")  # that a client sends back: newer models read them again
MORE = frozenset((*CALLS, *THOUGHTS))
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Learned:
    """What this worker learned from the prompt tokens that servers report. Starts from the priors."""

    prompt_factor: Mapping[str, float] = field(default_factory=dict)  # by category: reported ÷ estimated tokens
    tool_factor: float = 1.0  # reported ÷ estimated tokens of tools
    image_tokens: float = TOKENS_PER_IMAGE


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
    tool_chars = _chars_of_tools(tools) if isinstance(tools, list) else 0.0
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
    )


def _most_tokens(content: Content, tool_chars: float) -> int | None:
    """A token has at least a byte."""
    if content.images or content.files or content.audio or content.video:
        return None
    most_bytes = content.chars + (BYTES_PER_CHAR - 1) * content.not_ascii + tool_chars
    return round(most_bytes) + content.messages * MOST_TOKENS_PER_MESSAGE


def body_of(request: Mapping[str, object]) -> object:
    """The messages or the prompt, the system prompt before them."""
    body = request.get("messages") or request.get("input") or request.get("prompt") or request.get("contents") or None
    system = request.get("system") or request.get("instructions")  # Anthropic's and Responses' own fields
    if system:
        body = [{"role": "system", "content": system}, *(body if isinstance(body, list) else [_as_user(body)])]
    return body


def tell(request: Mapping[str, object], body: object, categorizer: Categorizer, rule: Rule | None) -> tuple[str, str]:
    """The category of a request whose client named none, and who told it."""
    category = None if rule is None else rule(request)
    if category is not None:
        return category, "rule"
    category = categorizer(instruction_windows(body))
    return (UNSURE, UNSURE) if category is None else (category, "categorizer")


def measure(body: object, nesting: int = MAX_NESTING) -> Content:
    """Size of a prompt, a list of messages or a list of content parts; anything else counts as empty."""
    if isinstance(body, str):
        return measure([body], 1)
    chars = images = files = not_ascii = 0
    beyond = 0.0
    audio = video = False
    messages = body if isinstance(body, list) and nesting else ()
    if messages and isinstance(messages[0], int):  # the ids of tokens
        return Content(round(len(messages) / TOKENS_PER_CHAR), 0, images=0, audio=False, messages=1)
    for message in messages:
        content = _content(message) if isinstance(message, dict) else message
        texts = [] if not isinstance(message, dict) or MORE.isdisjoint(message) else _more(message)
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            inner = measure(content, nesting - 1)
            chars, beyond, images = chars + inner.chars, beyond + inner.beyond, images + inner.images
            files, audio, video = files + inner.files, audio or inner.audio, video or inner.video
            not_ascii += inner.not_ascii
        elif isinstance(message, dict):
            kind = message.get("type")
            images += kind in IMAGES  # no set: anything may stand there
            files += kind in ("file", "input_file", "document")
            audio = audio or kind == "input_audio"
            video = video or kind in ("video_url", "input_video")
        for text in texts:
            chars += len(text)
            if not text.isascii():
                beyond += _beyond(text)
                not_ascii += len(text)
    return Content(chars, beyond, images, audio, len(messages), files, video, not_ascii)


def _content(message: Mapping[str, object]) -> object:
    content = message.get("content", message.get("text"))
    if content is None:
        content = message.get("parts")  # Gemini's
    return message.get("output") if content is None else content  # what a tool of Responses answered


def _more(message: Mapping[str, object]) -> list[str]:
    """The texts of what the model asked of its tools, and of what it thought."""
    texts: list[str] = []
    values = [message[key] for key in message if key in MORE]
    for value in values:  # grows meanwhile
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            values.extend(value.values())
        elif isinstance(value, list):
            values.extend(value)
    return texts


def _chars_of_tools(tools: Sequence[object]) -> float:
    """Characters of the tools' schemas as JSON, estimated from a sample."""
    sample = tools[:: -(-len(tools) // SAMPLE_TOOLS)] if tools else ()
    if not sample:
        return 0.0
    try:
        return len(encode(sample)) / len(sample) * len(tools)
    except (TypeError, ValueError, RecursionError):  # no JSON
        return float(CHARS_PER_TOOL * len(tools))


def _as_user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


def _beyond(text: str) -> float:
    step = max(len(text) // SAMPLE_CHARS, 1)
    sample = text[::step] if step == 1 else text[: SAMPLE_CHARS * step : step]
    wide, other = sum(one >= WIDE_FROM for one in sample), sum(one >= OTHER_FROM for one in sample)
    tokens = wide * (TOKENS_PER_WIDE - TOKENS_PER_OTHER) + other * (TOKENS_PER_OTHER - TOKENS_PER_CHAR)
    return tokens / len(sample) * len(text)


def _choices(request: Mapping[str, object]) -> int:
    """How many answers the request asks for. Each one costs, also those that `best_of` does not return."""
    prompts = request.get("prompt")
    answers = 1
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):  # else the ids of one's tokens
        answers = len(prompts)
    if "n" not in request and "best_of" not in request:
        return answers
    return answers * min(max(_positive(request, "n"), _positive(request, "best_of"), 1), MAX_CHOICES)


def _output_limit(request: Mapping[str, object]) -> int | None:
    """The largest limit that the request names, in tokens. Servers differ in which of several they apply."""
    named = [_positive(request, name) for name in _OUTPUT_LIMITS if name in request]
    return min(max(named), MAX_OUTPUT_TOKENS) or None if named else None


def _effort(request: Mapping[str, object]) -> str:
    """How much thinking the request asks for: an effort as in OpenAI's routes, or `~` and Anthropic's budget in tokens.

    A budget is rounded down to a power of two, so that few values exist. Empty where nothing known is asked for.
    """
    asked = request.get("reasoning_effort") or request.get("reasoning")
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
    schema = answer_form(request) is not None
    if not (has_tools or content.images or content.audio or content.files or content.video or schema):
        return _NO_NEEDS
    flags: Sequence[tuple[str, object]] = (
        ("tools", has_tools),
        ("vision", content.images),
        ("audio", content.audio),
        ("pdf", content.files),
        ("video", content.video),
        ("json_schema", schema),
    )
    return frozenset(name for name, needed in flags if needed)


_NO_NEEDS: frozenset[str] = frozenset()
