"""What one request carries through LiteLLM's hooks, from its arrival to its record.

The trace travels in the request's own metadata. So it lives exactly as long as the request, nothing has to be evicted,
and no request can see the trace of another. LiteLLM copies metadata here and there; copies share the trace on purpose,
for a retry must know what the first attempt tried. A mirrored call (LiteLLM's `silent_model`) carries a copy, too, and
is ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from slo_router.contract.model import Decision, Slo
from slo_router.request.conversations import NO_SESSION, NOTHING_CACHED, Cached
from slo_router.request.history import NOTHING_KEPT
from slo_router.request.slo import NOTHING_ASKED, Asked, SloInputs
from slo_router.worker.attempt import Attempt

TRACE_KEY = "slo_router"
METADATA_KEYS = ("litellm_metadata", "metadata")  # the first one that is there belongs to LiteLLM
LAST_PIECES = 16  # the event at a stream's end may come in several pieces
MIRROR_KEY = "is_silent_experiment"  # LiteLLM's mark on a mirrored call, which has no client


class Alarm(Protocol):
    """Looks at an attempt once its deadline passed."""

    def cancel(self) -> None:
        """Stops looking at the attempt."""
        ...


class Ahead(Protocol):
    """A stream whose first pieces are read. Iterate this object for those pieces, then iterate `rest`."""

    rest: AsyncIterator[object]
    first_token_s: float | None
    headers: dict[str, str]  # LiteLLM's, where it would name another deployment

    def __aiter__(self) -> AsyncIterator[object]:
        """The pieces up to the first token."""
        ...

    async def close(self) -> None:
        """Stops reading, and closes the connection to the deployment."""
        ...


class Rescue(NamedTuple):
    """A silent attempt that was given up: the request goes on to another deployment."""

    kind: Literal["deadline"]
    attempt: Attempt
    usd: float | None  # what its deployment is expected to bill; `None` where that is unknown


class Span(Protocol):
    """What is used of an OpenTelemetry span: nothing else of OpenTelemetry is known here."""

    def is_recording(self) -> bool:
        """Whether attributes still count: it was sampled, and has not ended."""
        ...

    def set_attributes(self, attributes: Mapping[str, str | float], /) -> None:
        """Adds attributes; those of the same name are replaced."""
        ...


@dataclass(slots=True, repr=False, eq=False)
class Trace:
    """The mutable part of a request. `arrived_s` is Unix seconds."""

    call_type: str
    arrived_s: float
    group: str = ""  # the managed group that was asked, or that decided last
    lot: float = 0.0  # 0 to below 1, drawn once: decides whether the canary takes this request
    stream: bool = False
    waiting: SloInputs | None = None  # of a request for an unmanaged group: read if a fallback leads to a managed one
    asked: Asked = NOTHING_ASKED
    slo: Slo = field(default_factory=Slo)
    clamped: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # fields that are malformed, found when the request could not be refused any more
    decision: Decision | None = None
    is_shadow: bool = False  # the decision is recorded, and LiteLLM chose
    note: str = ""  # why LiteLLM chose, where there is no decision
    attempts: list[Attempt] = field(default_factory=list)  # the last one may be under way
    awaits_token: bool = True  # the attempt under way has no token yet
    first_token_s: float | None = None  # Unix seconds of the first token that the client got, from whichever attempt
    was_asked: bool = False  # LiteLLM let this plugin pick the attempt that is sent next
    answer: tuple[tuple[object, ...], str | None] | None = None  # the filter's last answer: the place, and a deployment
    asks_pool: bool = False  # this plugin waits for LiteLLM's pool
    refusal: Exception | None = None  # what LiteLLM raised instead of giving its pool
    span: Span | None = None  # LiteLLM's span of this request, where its OpenTelemetry callback is on
    beginnings: Sequence[int] = ()  # the conversation's fingerprints, where a group is sticky
    session: int = NO_SESSION  # the hash of the session's name, where a group is sticky
    known: Cached = NOTHING_CACHED  # where the conversation was, as the decision found it
    is_by_session: bool = False  # the conversation was looked up by its session, for no beginning of it was known
    kept: Sequence[int] = ()  # hashes of the names of what only the provider knows: a conversation, a prompt, a file
    made: int = NOTHING_KEPT  # the hash of the name of what the answer left at the provider
    goes_on: bool = False  # the request continues what a provider holds; its length is unknown here
    is_impatient: bool = False  # the client set a timeout of its own
    tells_nothing: bool = False  # about a deployment: the call is not routed, or on the client's own account
    may_run_tools: bool = False  # the provider may run its own before the first token …
    searches: bool = False  # … and usually does
    ran_tools: bool = False  # it ran some for this answer
    is_signed: bool = False  # the conversation holds, or its answer may hold, what only its model can read
    waited_s: float = 0.0  # so long it waits, in all, for a deployment with room
    alarm: Alarm | None = None  # of the attempt under way, where it has a deadline
    rescue: Rescue | None = None  # the attempt that was silent
    repeats: int = 0  # how often this plugin itself asked again, in place of a stream without content
    ahead: Ahead | None = None  # the beginning of a stream that was read before its headers left
    last_pieces: deque[object] = field(default_factory=lambda: deque(maxlen=LAST_PIECES))  # of a stream
    recorded: bool = False

    @property
    def attempt(self) -> Attempt | None:
        """The attempt under way."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].ending is None else None

    def begin(self, attempt: Attempt) -> None:
        """Another attempt is under way."""
        self.attempts.append(attempt)
        self.awaits_token = True

    def saw_token(self, at_s: float | None) -> None:
        """The stream's first token goes to the client, or the first token of an attempt that continues a broken stream.

        `at_s` is Unix seconds; `None` if the token comes from LiteLLM's cache.
        """
        self.awaits_token = False
        if self.first_token_s is None:
            self.first_token_s = at_s
        if self.attempt is not None:
            self.attempt.first_token_s = at_s

    @property
    def rescued(self) -> Rescue | None:
        """The attempt that was given up, if another attempt followed it; else `None`."""
        rescue = self.rescue
        return None if rescue is None or not self.sent_to or self.attempts[-1] is rescue.attempt else rescue

    @property
    def tried(self) -> list[str]:
        """The deployments of all attempts in their order, also of attempts that were never sent."""
        return [attempt.deployment_id for attempt in self.attempts]

    @property
    def sent_to(self) -> list[str]:
        """The deployments that were really called, in their order."""
        return [attempt.deployment_id for attempt in self.attempts if attempt.is_sent]

    def __copy__(self) -> Trace:
        return self

    def __deepcopy__(self, memo: object) -> Trace:
        return self

    def __repr__(self) -> str:
        decision = self.decision
        return "slo_router" if decision is None else f"slo_router {decision.kind}: {decision.deployment_id}"


def find_waiting(request: object) -> Trace | None:
    """The trace of a request for an unmanaged group, as long as no fallback has led it into a managed group."""
    trace = _find(request)
    return None if trace is None or trace.waiting is None else trace


def find_trace(request: object) -> Trace | None:
    """The trace in a request's (or its `litellm_params`') metadata; `None` for a mirror, or where there is none."""
    trace = _find(request)
    return None if trace is None or trace.waiting is not None else trace


def _find(request: object) -> Trace | None:
    if not isinstance(request, Mapping):
        return None
    for key in METADATA_KEYS:
        metadata = request.get(key)
        if isinstance(metadata, dict):
            trace = metadata.get(TRACE_KEY)
            if isinstance(trace, Trace):
                return None if metadata.get(MIRROR_KEY) else trace
    return None


def is_mirror(request: Mapping[str, object]) -> bool:
    """Whether this is a mirrored call."""
    return any(isinstance(found := request.get(key), Mapping) and bool(found.get(MIRROR_KEY)) for key in METADATA_KEYS)


def own_metadata(request: dict[str, object]) -> dict[str, object] | None:
    """The metadata that LiteLLM keeps for itself in this request (the client's own may be under the other key)."""
    for key in METADATA_KEYS:
        metadata = request.get(key)
        if isinstance(metadata, dict):
            return metadata
    return None
