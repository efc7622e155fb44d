"""Who asks the demo's proxy for what: three virtual keys, and the requests that their clients send. Pure.

    frontend   a chat window: it streams, and the first token has to come soon
    batch      a nightly job: it has no SLO of its own, so the group's floors count; its team limits what it may ask for
    legal      always wants the best quality

Every limit is computed from the endpoints, so that the same demo works with emulated endpoints, real models and the
user's own. Reasoning and code need the quality of the better half of the endpoints. Batch may not ask for more than
that.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from evaluation.demo.endpoints import Endpoint
from evaluation.routing.categorizer import LabelledPrompt

GROUP = "smart"
HARD = ("reasoning", "code")
QUALITY_HEADER = "x-slo-min-quality"
SHORT_CHARS = 500
LARGEST_PROMPT_CHARS = 80_000
Messages = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key as `/key/generate` and `/team/new` would take it. `wants` says in words what the key asks for."""

    alias: str
    team: str
    wants: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    team_metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one kind: the key that sends them, their category and number, and the headers that they add."""

    key: str
    category: str
    count: int
    headers: tuple[tuple[str, str], ...] = ()
    stream: bool = False
    short: bool = False  # a prompt of at most SHORT_CHARS
    oversized: bool = False  # a prompt that is too long for the smallest context

    @property
    def label(self) -> str:
        """What is asked, in words."""
        asks = "".join(f" at quality {value}" for name, value in self.headers if name == QUALITY_HEADER)
        return f"{'long ' if self.oversized else ''}{self.category}{asks}"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    case: Case
    messages: Messages
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Load:
    """What the endpoints can take: the share of each case that is sent, the concurrency, and the answers' length."""

    share: float
    concurrency: int
    max_tokens: Mapping[str, int]
    short: bool  # short prompts only


FULL = Load(1.0, 4, {"ner": 60, "summarization": 120, "reasoning": 200, "code": 200, "chat": 80}, short=False)
LIGHT = Load(0.6, 2, {"ner": 24, "summarization": 24, "reasoning": 32, "code": 32, "chat": 24}, short=True)


def middle(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint with the lowest quality in the better half."""
    return sorted(endpoints, key=lambda endpoint: endpoint.default_quality)[len(endpoints) // 2]


def best(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint with the highest quality: "everything to the largest" means this one."""
    return max(endpoints, key=lambda endpoint: endpoint.default_quality)


def group_settings(endpoints: Sequence[Endpoint]) -> dict[str, object]:
    """`callback_settings.slo_router.groups.smart`: any endpoint is good enough, except for hard tasks."""
    lowest = min(endpoint.default_quality for endpoint in endpoints)
    return {"min_quality": {"default": lowest, **dict.fromkeys(HARD, middle(endpoints).default_quality)}}


def rules(endpoints: Sequence[Endpoint]) -> str:
    """Tells the audience what the keys stand for."""
    floors = f"{min(e.default_quality for e in endpoints):g}, {middle(endpoints).default_quality:g}"
    return (
        f"The group's floor is quality {floors} for {' and '.join(HARD)}. The frontend wants its first token within a "
        "time between the fastest and the slowest endpoint's measured p95. Keys come from LiteLLM's custom_auth hook; "
        "with a database they would be made with /key/generate."
    )


def virtual_keys(endpoints: Sequence[Endpoint], ttft_ms: float) -> list[VirtualKey]:
    """The three keys. `ttft_ms` is the frontend's SLO."""
    most, top = middle(endpoints).default_quality, best(endpoints).default_quality
    limits = {"slo_limits": {"min_quality": {"max": most}}}
    return [
        VirtualKey("frontend", "web", f"first token within {ttft_ms:g} ms", {"slo": {"ttft_ms": ttft_ms}}),
        VirtualKey("batch", "data", f"the group's; quality ≤ {most:g}", team_metadata=limits),
        VirtualKey("legal", "law", f"always quality {top:g}", {"slo": {"min_quality": top}}),
    ]


def between(lowest: float, highest: float) -> float:
    """The geometric mean, rounded to two digits: a limit that the fastest meets and the slowest misses."""
    mean = math.sqrt(lowest * highest)
    return round(mean, 1 - math.floor(math.log10(mean)))


def cases(endpoints: Sequence[Endpoint]) -> list[Case]:
    """All cases that are sent under the full load."""
    at_top = ((QUALITY_HEADER, f"{best(endpoints).default_quality:g}"),)
    return [
        Case("frontend", "chat", 8, stream=True, short=True),
        Case("frontend", "ner", 6, stream=True, short=True),
        Case("frontend", "reasoning", 5, stream=True, short=True),
        Case("frontend", "chat", 3, at_top, stream=True, short=True),
        Case("batch", "summarization", 7),
        Case("batch", "summarization", 2, oversized=True),
        Case("batch", "ner", 5),
        Case("batch", "ner", 3, at_top),
        Case("batch", "reasoning", 4, short=True),
        Case("batch", "code", 5),
        Case("legal", "summarization", 4, stream=True),
        Case("legal", "ner", 3),
        Case("legal", "reasoning", 3, stream=True, short=True),
    ]


def requests(endpoints: Sequence[Endpoint], prompts: Sequence[LabelledPrompt], load: Load) -> list[Ask]:
    """The requests in the order in which they are sent, cases mixed; the same on every run."""
    asks: list[Ask] = []
    pools: dict[tuple[str, bool], Iterator[Messages]] = {}
    for case in cases(endpoints):
        short = case.short or load.short
        pool = pools.setdefault((case.category, short), cycle(_of(prompts, case.category, short=short)))
        oversized = _oversized(endpoints, prompts) if case.oversized and not load.short else None
        if case.oversized and oversized is None:
            continue
        count = max(1, round(case.count * load.share))
        asks += [Ask(case, oversized or next(pool), load.max_tokens[case.category]) for _ in range(count)]
    random.Random(0).shuffle(asks)
    return asks


def _of(prompts: Sequence[LabelledPrompt], category: str, *, short: bool) -> list[Messages]:
    """The prompts of a category. Prompts on which the categorizer's rules were not tuned come first."""
    fitting = [p for p in prompts if p.category == category and not (short and len(str(p.messages)) > SHORT_CHARS)]
    return [prompt.messages for prompt in sorted(fitting, key=lambda prompt: prompt.split)]  # test before train


def _oversized(endpoints: Sequence[Endpoint], prompts: Sequence[LabelledPrompt]) -> Messages | None:
    """A summarization a quarter longer than the smallest context; `None` if no context is larger or all are huge."""
    contexts = sorted({endpoint.max_input_tokens for endpoint in endpoints if endpoint.max_input_tokens})
    chars = 5 * contexts[0] if len(contexts) > 1 else 0  # four characters a token
    if not 0 < chars <= LARGEST_PROMPT_CHARS:
        return None
    documents = [str(messages[-1]["content"]) for messages in _of(prompts, "summarization", short=False)]
    text = "\n\n".join(documents * (chars // sum(map(len, documents)) + 1))[:chars]
    return [{"role": "user", "content": f"Summarize the following reports in five bullet points.\n\n{text}"}]
