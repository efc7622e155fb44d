"""What an answer's headers say of the deployment that answers.

LiteLLM asks for a stream's headers before it has the first piece, and until then may ask another deployment by itself.
It writes the headers once that piece is there. So their values are computed again when they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slo_router.decision.explain import header_text, headers
from slo_router.worker.trace import Trace

MODEL_HEADER = "x-litellm-model-id"  # LiteLLM's own, which would still name the first deployment that it asked


def told(trace: Trace, served: object = None) -> dict[str, str]:
    """The headers as of now; may be empty. `served` is the deployment that answers, if the trace does not know it."""
    by = trace.sent_to[-1] if trace.sent_to else served
    if trace.decision is not None and not trace.is_shadow:
        named = headers(trace.decision, (*trace.clamped, *trace.ignored))
    elif trace.note:
        named = {"x-slo-decision": "passthrough", "x-slo-reason": trace.note}
        named |= {"x-slo-selected-model": header_text(str(by))} if by else {}
    else:
        return {}
    if trace.ahead is not None:
        named |= trace.ahead.headers
    if trace.stream and trace.sent_to:
        named[MODEL_HEADER] = header_text(trace.sent_to[-1])
    return named if trace.rescued is None else {**named, "x-slo-rescued": trace.rescued.kind}


class _Late(str):
    """A header's value that is computed again when it is written; empty if the header does not apply any more."""

    __slots__ = ("read",)
    read: Callable[[], str]

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.read().encode(encoding, errors)


def late(trace: Trace, served: object = None) -> dict[str, str]:
    """The headers of a stream. Each has the value that is right when it is written."""
    attempts, now = len(trace.attempts), told(trace, served)

    def read(name: str) -> str:
        return now[name] if len(trace.attempts) == attempts else told(trace, served).get(name, "")

    found: dict[str, str] = {}
    for name, text in now.items():
        found[name] = value = _Late(text)
        value.read = partial(read, name)
    return found
