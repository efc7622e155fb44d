"""Measures latency and size of one streamed chat completion, without any I/O.

    send ──── role ── : comment ── "" ── "Hel" ── "lo" ── finish_reason ── usage ── [DONE]
     │                                     │  ITL   │          │            │
     └──────────────── TTFT ───────────────┘────────┘          │         tokens
     └─────────────────────────── E2E ─────────────────────────┘

- TTFT ends at the first chunk with output: content, reasoning, a tool call or a refusal (`contract.first_token`).
- E2E ends at the last such chunk or at the `finish_reason`, whichever is later.
- TPOT is (E2E − TTFT) / (n − 1), one figure per request. n counts the completion tokens without hidden reasoning: that
  was written before the first visible token.
- ITL is each gap between two chunks with output, which a reader sees as stutter. k chunks have k − 1 gaps.
- Tokens come from the usage chunk. A chunk may hold several tokens or none, so without usage the size is unknown.
- A stream that ends before `[DONE]` or a `finish_reason` was cut. That is an error, whatever had arrived.
- If hidden reasoning used up most of `max_tokens` and no output came, the request says nothing about the deployment:
  the agent gave it too few tokens.

A failed request has no latency. Its text and its token counts are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import pairwise

import msgspec

from slo_bench.measure.chunks import Usage, content_of, read_usage, reasoning_of
from slo_bench.measure.excuses import REASONING, WITHHELD, Excuse, words_of
from slo_router.contract.first_token import THINK, delta_has_token

# Error classes beside `http_<status>`. They are names in reports; keep them stable.
CONNECTION = "connection"  # refused, reset or closed before the answer began
TIMEOUT = "timeout"
CUT_STREAM = "cut_stream"  # ended in the middle of an answer
MALFORMED = "malformed"  # not an event stream, or an event that is not a chat completion chunk
ERROR_EVENT = "error_event"  # HTTP 200, then an error inside the stream
EMPTY = "empty"  # complete, but without a single token
REASONING_ONLY = "reasoning_only"  # ended at `max_tokens` in the middle of hidden reasoning
WRONG_DEPLOYMENT = "wrong_deployment"  # the proxy answered from another deployment than the one asked for

_DONE = "[DONE]"
_MOSTLY = 0.5  # share of hidden reasoning in the completion tokens; from here on too few were left for the answer


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as measured. Times in seconds since the send; `None` is unmeasured. `error` is a class or `None`.

    An error with an `excuse` says nothing about the deployment, see `excuses`.
    """

    ttft_s: float | None = None
    e2e_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    itl_s: tuple[float, ...] = field(default=(), repr=False)
    cached_tokens: int | None = None  # of the prompt, read from a prefix cache
    reasoning_tokens: int | None = None  # of the completion
    finish_reason: str | None = None
    reasoning_chars: int = 0
    answer: str = field(default="", repr=False)  # content alone; for checks and graders, never for a report or a log
    excuse: Excuse | None = None

    @property
    def hidden_tokens(self) -> int:
        """Completion tokens of reasoning that the client does not see."""
        is_shown = self.reasoning_chars > 0 or self.answer.lstrip().startswith(THINK)
        return 0 if is_shown else self.reasoning_tokens or 0

    @property
    def shown_tokens(self) -> int | None:
        """Completion tokens that the client sees; `None` where the server sent no count."""
        return None if self.completion_tokens is None else max(self.completion_tokens - self.hidden_tokens, 0)

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first: (E2E − TTFT) / (n − 1), `None` below two tokens."""
        if self.ttft_s is None or self.e2e_s is None or self.shown_tokens is None or self.shown_tokens < 2:
            return None
        return (self.e2e_s - self.ttft_s) / (self.shown_tokens - 1)

    @property
    def is_mostly_reasoning(self) -> bool:
        """Whether most of the completion was hidden reasoning."""
        return self.hidden_tokens > 0 and self.hidden_tokens >= _MOSTLY * (self.completion_tokens or 0)


class StreamReading:
    """Reads one stream, event by event. `sent_s` and every `at_s` are seconds on one monotonic clock."""

    def __init__(self, sent_s: float) -> None:
        self._sent_s = sent_s
        self._output_s: list[float] = []  # when each chunk with output came
        self._ended_s = sent_s
        self._usage = Usage()
        self._answer: list[str] = []
        self._reasoning_chars = 0
        self._finish_reason: str | None = None
        self._done = False
        self._error: str | None = None
        self._excuse: Excuse | None = None
        self.refused: tuple[int, str] | None = None  # an HTTP status inside the stream, and the server's words

    @property
    def failed(self) -> bool:
        """Whether an error was found. Later events change nothing then."""
        return self._error is not None

    def fail(self, error: str, excuse: Excuse | None = None) -> None:
        """Notes an error. Only the first one counts, and none after `[DONE]`."""
        if not self._done and self._error is None:
            self._error, self._excuse = error, excuse

    def feed(self, data: str, at_s: float) -> None:
        """Takes the data of one event."""
        text = data.strip()
        if self._done or self._error is not None or not text:
            return
        if text == _DONE:
            self._done = True
        else:
            self._read_chunk(_json(text), at_s)

    def sample(self) -> Sample:
        """The measurement, once the stream has ended."""
        error, output_s = self._error, self._output_s
        if error is None and not (self._done or self._finish_reason):
            error = CUT_STREAM
        sample = Sample(
            ttft_s=None if error or not output_s else output_s[0] - self._sent_s,
            e2e_s=None if error or not output_s else self._ended_s - self._sent_s,
            error=error,
            itl_s=() if error else tuple(b - a for a, b in pairwise(output_s)),
            finish_reason=self._finish_reason,
            reasoning_chars=self._reasoning_chars,
            answer="".join(self._answer),
            **self._usage._asdict(),
            excuse=self._excuse,
        )
        return sample if error or output_s else _without_output(sample)

    def _read_chunk(self, chunk: object, at_s: float) -> None:
        choices = chunk.get("choices") or [] if isinstance(chunk, dict) else None
        if not isinstance(chunk, dict) or not isinstance(choices, list):
            self.fail(MALFORMED)
        elif chunk.get("error"):
            self._read_error(chunk["error"])
        else:
            usage = chunk.get("usage")
            if isinstance(usage, dict):  # some servers send a running usage in every chunk: the last one holds
                self._usage = read_usage(usage)
            for choice in choices:
                self._read_choice(choice, at_s)

    def _read_error(self, error: object) -> None:
        """Before any output an error may be a refusal: some servers send HTTP 200 before they look at the request."""
        code = error.get("code") or error.get("status") if isinstance(error, dict) else None
        status = int(code) if isinstance(code, int | str) and str(code).isdecimal() and len(str(code)) == 3 else None
        if status is not None and not self._output_s:
            self.refused = status, words_of(json.dumps({"error": error}))
        self.fail(ERROR_EVENT)

    def _read_choice(self, choice: object, at_s: float) -> None:
        if not isinstance(choice, dict):
            self.fail(MALFORMED)
            return
        delta = choice.get("delta")
        if isinstance(delta, dict) and delta_has_token(delta):
            self._output_s.append(at_s)
            self._ended_s = at_s
            self._answer.append(content_of(delta))
            self._reasoning_chars += len(reasoning_of(delta))
        reason = choice.get("finish_reason")
        if reason:
            self._finish_reason = str(reason)
            self._ended_s = at_s


def _without_output(sample: Sample) -> Sample:
    if sample.finish_reason == "length" and sample.is_mostly_reasoning:
        return replace(sample, error=REASONING_ONLY, excuse=REASONING)
    return replace(sample, error=EMPTY, excuse=WITHHELD if sample.finish_reason == "content_filter" else None)


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)  # takes a third of the time of `json`
    except (ValueError, RecursionError):  # RecursionError: thousands of open brackets
        pass
    try:
        return json.loads(text)  # more lenient: half a surrogate pair, NaN
    except (ValueError, RecursionError):
        return None
