"""What an answer's headers say of who answers.

LiteLLM asks for a stream's headers before it has its first piece, and until then may ask another deployment by itself.
It writes them once the piece is there. So they are read once more as they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slo_router.decision.explain import header_text, headers
from slo_router.worker.trace import Trace

MODEL_HEADER = "x-litellm-model-id"  # LiteLLM's own, which goes on to name whom it asked first


def told(trace: Trace, served: object = None) -> dict[str, str]:
    """What there is to say now; `served` is who answers, where the trace does not know. Empty: nothing."""
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
    """A header's value, which is read once more when it is written: what is not said any more is empty then."""

    __slots__ = ("read",)
    read: Callable[[], str]

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.read().encode(encoding, errors)


def late(trace: Trace, served: object = None) -> dict[str, str]:
    """The same of a stream, each header with the value that it has once it is written."""
    attempts, now = len(trace.attempts), told(trace, served)

    def read(name: str) -> str:
        return now[name] if len(trace.attempts) == attempts else told(trace, served).get(name, "")

    found: dict[str, str] = {}
    for name, text in now.items():
        found[name] = value = _Late(text)
        value.read = partial(read, name)
    return found
