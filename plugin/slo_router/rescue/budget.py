"""How many further calls a group may make: a share of its last requests, over all workers. Pure.

    the last requests   those of the last WINDOW_S, or LEAST where they are fewer
    one more            while fewer than `share` of these were followed by a further call

So when a server begins to hang, the whole share is unused. Over any span of so many requests no more than the share is
used, whatever happens. A token bucket would let twice as much pass.

A worker counts its own requests and calls, and tells the others both numbers. Until the others report again, each
worker takes only its part of what is left, so that no two take the same call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LEAST = 400  # requests; more where one further call needs more
WINDOW_S = 20.0
MOST = 1_000_000_000  # a larger number from another worker is not believed


@dataclass(slots=True)
class _Account:
    """One group's requests and further calls."""

    share: float = 0.0
    own: int = 0  # requests of this worker
    seen: int = 0  # requests of all workers since this one began
    marks: deque[tuple[float, int]] = field(default_factory=deque)  # Unix seconds, and `seen` at that moment
    calls: deque[int] = field(default_factory=deque)  # `seen` at each further call of this worker
    others: int = 0  # further calls of the others that followed the last requests
    told: int | None = None  # requests of the others, as they last reported
    taken: int = 0  # further calls of this worker since then

    @property
    def window(self) -> float:
        """How many of the last requests count."""
        recent = self.seen - self.marks[0][1] if self.marks else 0
        return max(LEAST, 1 / self.share if self.share else 0.0, recent)

    @property
    def used(self) -> int:
        """Further calls of this worker that followed the last requests."""
        while self.calls and self.seen - self.calls[0] >= self.window:
            self.calls.popleft()
        return len(self.calls)

    @property
    def left(self) -> int:
        """Further calls of all workers that may follow now; below 0 where there were too many."""
        return int(self.share * self.window + 1e-9) - self.used - self.others

    def pass_time(self, now_s: float) -> None:
        """Forgets marks that are too old, or of a clock that was set back since."""
        if not self.marks or abs(now_s - self.marks[-1][0]) >= 1:
            self.marks.append((now_s, self.seen))
        while abs(now_s - self.marks[0][0]) > WINDOW_S:
            self.marks.popleft()


class Budget:
    """One worker's view of the further calls, by group."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._workers, self._rank = 1, 0

    def earn(self, group: str, share: float, now_s: float) -> None:
        """Counts a request of the group. `share` (0..1): the part of its requests that a further call may follow."""
        account = self._account(group)
        account.pass_time(now_s)
        account.share = share
        account.own += 1
        account.seen += 1

    def left(self, group: str) -> int:
        """Further calls that all workers may make now."""
        return self._account(group).left

    def take(self, group: str, now_s: float) -> bool:
        """Takes one further call. False where none is left."""
        account = self._account(group)
        account.pass_time(now_s)
        part, rest = divmod(account.left + account.taken, self._workers)
        if account.left < 1 or account.taken >= part + (self._rank < rest):
            return False
        account.calls.append(account.seen)
        account.taken += 1
        return True

    def export(self) -> Mapping[str, tuple[int, int]]:
        """By group: this worker's requests since it began, and its further calls that followed the last requests."""
        return {group: (account.own, account.used) for group, account in self._accounts.items()}

    def hear(self, told: Iterable[object], rank: int = 0) -> None:
        """Takes what the other workers said. `rank` is this worker's position. What makes no sense is left out."""
        said_by = [one for one in told if isinstance(one, Mapping)]
        is_known = len(said_by) == self._workers - 1  # else old requests of a worker would count as new
        self._workers, self._rank = 1 + len(said_by), rank
        for group, account in self._accounts.items():
            said = [numbers for one in said_by if (numbers := _numbers(one.get(group))) is not None]
            requests = sum(own for own, _ in said)
            if is_known and account.told is not None:
                account.seen += max(0, requests - account.told)
            account.told, account.others, account.taken = requests, sum(used for _, used in said), 0

    def _account(self, group: str) -> _Account:
        return self._accounts.setdefault(group, _Account())


def _numbers(said: object) -> tuple[int, int] | None:
    """Requests and further calls of another worker."""
    match said:
        case [int(own), int(used)] if 0 <= own <= MOST and 0 <= used <= MOST:
            return own, used
        case _:
            return None
