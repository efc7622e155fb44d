"""Records the requests to an endpoint, so that a test can see which requests reached it and how each one ended."""

import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace

KEPT = 1000


@dataclass(slots=True)
class Seen:
    """One request that reached the model's routes."""

    path: str
    stream: bool | None  # None: the body could not be read
    headers: dict[str, str]  # those that start with x-
    body_keys: tuple[str, ...]
    fault: str
    status: int | None = None  # None: no status line was sent
    completed: bool = False  # the whole answer was sent
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    mark: str | None = None  # of the prompt: see answers.mark_of
    at_s: float = field(default_factory=time.time)  # Unix seconds, like all times here
    headers_s: float | None = None  # when the headers were sent
    content_s: float | None = None  # when the first token of a stream was sent
    pieces: int = 0  # that were sent of a stream
    ended_s: float | None = None  # when the whole answer was sent
    closed_s: float | None = None  # when the client closed the connection before the answer had ended

    def complete(self) -> None:
        """Notes that the whole answer was sent."""
        self.completed, self.ended_s = True, time.time()


class Record:
    """The number of requests, and the latest requests."""

    def __init__(self) -> None:
        self.requests = 0
        self._seen: deque[Seen] = deque(maxlen=KEPT)

    def note(self, seen: Seen) -> Seen:
        """Count a request; its fields are filled in as it goes on."""
        self.requests += 1
        self._seen.append(seen)
        return seen

    def seen(self) -> list[Seen]:
        """Copies of the last requests, oldest first."""
        return [replace(entry) for entry in list(self._seen)]

    def clear(self) -> None:
        """Forget everything."""
        self.requests = 0
        self._seen.clear()

    def as_json(self) -> dict[str, object]:
        """For GET /control."""
        return {"requests": self.requests, "seen": [asdict(entry) for entry in self.seen()]}
