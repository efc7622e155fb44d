"""How an answer looks on a route: whole, and as server-sent events.

Each dialect is a pure translation. `model` decides when an event is sent.
"""

from abc import ABC, abstractmethod

import orjson

from evaluation.emulator.answers import Answer, Ask
from evaluation.emulator.bodies import Body

Json = dict[str, object]


class Dialect(ABC):
    """One text route; `body` is what a client sends."""

    body: type[Body]

    @abstractmethod
    def whole(self, answer: Answer) -> Json:
        """The answer without streaming."""

    def accepted(self, answer: Answer) -> list[bytes]:  # noqa: ARG002
        """Events that are sent as soon as a stream is accepted."""
        return []

    def opening(self, answer: Answer) -> list[bytes]:  # noqa: ARG002
        """Events without content before the first token. They are sent at once, or right before the token."""
        return []

    @abstractmethod
    def piece(self, answer: Answer, index: int) -> bytes:
        """The event of one piece of the answer."""

    @abstractmethod
    def closing(self, answer: Answer, ask: Ask) -> list[bytes]:
        """Events after the last token."""


def sse(data: Json, event: str | None = None) -> bytes:
    """One server-sent event."""
    named = b"" if event is None else b"event: " + event.encode() + b"\n"
    return named + b"data: " + orjson.dumps(data) + b"\n\n"
