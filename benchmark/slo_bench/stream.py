"""What one streamed chat completion tells about latency and size, read without any I/O.

Theory. A stream is a series of events, each stamped with the second at which it arrived:

    send ──── role ── : comment ── "" ── "Hel" ── "lo" ── finish_reason ── usage ── [DONE]
     │                                     │                    │            │
     └──────────────── TTFT ───────────────┘                    │         tokens
     └─────────────────────────── E2E ──────────────────────────┘

- TTFT ends at the first chunk that carries content, reasoning or a tool call. Comments, blank lines, role-only and
  empty chunks keep a connection alive; they are not tokens.
- E2E ends at the last such chunk or at the `finish_reason`, whichever is later: the server sends the latter in the
  step of the end-of-text token, which it counts.
- Tokens come from the usage chunk. A chunk may hold several tokens or none, so counting chunks counts nothing: without
  usage the size is unknown and so is TPOT.
- A stream that ends before `[DONE]` or a `finish_reason` was cut: an error, whatever had arrived.

A failed request has no latency at all: how long a failure took says nothing about how long an answer takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

# Error classes beside `http_<status>`. They are names in reports; keep them stable.
CONNECTION = "connection"  # refused, reset or closed before the answer began
TIMEOUT = "timeout"
CUT_STREAM = "cut_stream"  # ended in the middle of an answer
MALFORMED = "malformed"  # not an event stream, or an event that is not a chat completion chunk
ERROR_EVENT = "error_event"  # HTTP 200, then an error inside the stream
EMPTY = "empty"  # complete, but without a single token
WRONG_DEPLOYMENT = "wrong_deployment"  # the proxy answered from another deployment than the one asked for

_OUTPUT = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
_DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as measured. Times in seconds since the send; `None` is unmeasured. `error` is a class or `None`."""

    ttft_s: float | None = None
    e2e_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first: (E2E − TTFT) / (n − 1), `None` below two tokens."""
        if self.ttft_s is None or self.e2e_s is None or self.completion_tokens is None or self.completion_tokens < 2:
            return None
        return (self.e2e_s - self.ttft_s) / (self.completion_tokens - 1)


class StreamReading:
    """Reads one stream, event by event. `sent_s` and every `at_s` are seconds on one monotonic clock."""

    def __init__(self, sent_s: float) -> None:
        self._sent_s = sent_s
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None
        self._finished = False
        self._done = False
        self._error: str | None = None

    @property
    def closed(self) -> bool:
        """Nothing that follows can change the sample."""
        return self._done or self._error is not None

    def fail(self, error: str) -> None:
        """Something went wrong outside the events. The first error counts, and none after `[DONE]`."""
        if not self.closed:
            self._error = error

    def feed(self, data: str, at_s: float) -> None:
        """Takes the data of one event."""
        text = data.strip()
        if self.closed or not text:
            return
        if text == _DONE:
            self._done = True
        else:
            self._read_chunk(_json(text), at_s)

    def sample(self) -> Sample:
        """The measurement, once the stream has ended."""
        error, first_s, last_s = self._error, self._first_s, self._last_s
        if error is None and not (self._done or self._finished):
            error = CUT_STREAM
        if error is not None or first_s is None or last_s is None:
            return Sample(error=error or EMPTY)
        return Sample(first_s - self._sent_s, last_s - self._sent_s, self._prompt_tokens, self._completion_tokens)

    def _read_chunk(self, chunk: object, at_s: float) -> None:
        choices = chunk.get("choices") or [] if isinstance(chunk, dict) else None
        if not isinstance(chunk, dict) or not isinstance(choices, list):
            self.fail(MALFORMED)
        elif chunk.get("error"):
            self.fail(ERROR_EVENT)
        else:
            self._read_usage(chunk.get("usage"))
            for choice in choices:
                self._read_choice(choice, at_s)

    def _read_choice(self, choice: object, at_s: float) -> None:
        if not isinstance(choice, dict):
            self.fail(MALFORMED)
            return
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(delta.get(name) for name in _OUTPUT):
            self._last_s = at_s
            if self._first_s is None:
                self._first_s = at_s
        if choice.get("finish_reason"):
            self._finished = True
            self._last_s = at_s

    def _read_usage(self, usage: object) -> None:
        if isinstance(usage, dict):  # some servers send a running usage in every chunk: the last one holds
            self._prompt_tokens = _count(usage.get("prompt_tokens"))
            self._completion_tokens = _count(usage.get("completion_tokens"))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for thousands of open brackets
        return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
