"""What one request carries through LiteLLM's hooks, from its arrival to its record.

It travels in the request's own metadata, so it lives exactly as long as the request, nothing has to be evicted and no
request can see another's. LiteLLM copies metadata here and there; copies share the trace on purpose, for a retry must
know what the first attempt tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slo_router.domain import Decision, Slo
from slo_router.live import Flight
from slo_router.slo import NOTHING_ASKED, Asked

TRACE_KEY = "slo_router"
FIRST_TOKEN_CALL_TYPES = frozenset({"completion", "acompletion", "text_completion", "atext_completion"})
METADATA_KEYS = ("litellm_metadata", "metadata")  # the first one that is there belongs to LiteLLM


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
    stream: bool = False
    asked: Asked = NOTHING_ASKED
    slo: Slo = field(default_factory=Slo)
    clamped: tuple[str, ...] = ()
    decision: Decision | None = None
    is_shadow: bool = False  # the decision is recorded, and LiteLLM chose
    note: str = ""  # why LiteLLM chose, where there is no decision
    tried: list[str] = field(default_factory=list)
    flight: Flight | None = None  # the attempt on its way
    span: Span | None = None  # LiteLLM's of this request, where its OpenTelemetry callback is on
    beginnings: Sequence[int] = ()  # the conversation's fingerprints, where a group is sticky
    recorded: bool = False

    @property
    def shows_first_token(self) -> bool:
        """Whether LiteLLM's mark of the first token is one: on the other routes it is the first event."""
        return self.stream and self.call_type in FIRST_TOKEN_CALL_TYPES

    def __copy__(self) -> Trace:
        return self

    def __deepcopy__(self, memo: object) -> Trace:
        return self

    def __repr__(self) -> str:
        decision = self.decision
        return "slo_router" if decision is None else f"slo_router {decision.kind}: {decision.deployment_id}"


def find_trace(request: object) -> Trace | None:
    """The trace in a request's (or its `litellm_params`') metadata, `None` where the plugin has not seen it."""
    if not isinstance(request, dict):
        return None
    for key in METADATA_KEYS:
        metadata = request.get(key)
        if isinstance(metadata, dict):
            trace = metadata.get(TRACE_KEY)
            if isinstance(trace, Trace):
                return trace
    return None


def own_metadata(request: dict[str, object]) -> dict[str, object] | None:
    """The metadata that LiteLLM keeps for itself in this request (the client's own may be under the other key)."""
    for key in METADATA_KEYS:
        metadata = request.get(key)
        if isinstance(metadata, dict):
            return metadata
    return None
