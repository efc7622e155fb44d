"""What an emulated endpoint does wrong, and to which request."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "ok", "error500", "error429", "status", "hang", "drop", "cut", "end", "slow", "noise", "leak", "stall", "warming"
]
StallPlace = Literal["connection", "headers", "opening", "comments", "token", "middle"]

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]

COMMENT_EVERY_S = 0.5


class Fault(BaseModel):
    """What an endpoint does wrong, until it is told otherwise, has done it `times` times, or `for_s` seconds are over.

    `error500`, `error429`: answer with HTTP 500 or 429. `status`: answer with `status` and `message`. `hang`: accept
    and never answer. `drop`: close the connection before the first byte. `cut`: close it after `after_chunks` pieces
    of a stream, or after half the body of a whole answer. `end`: end a stream there, as if it were complete. `slow`:
    take `factor` times as long. `noise`: send blank lines and comments before and between the content. `leak`: end each
    answer with the markup of a chat template, as a server with a wrong template does.

    `warming`: a server that has just started. It takes `factor` times as long at its first request, then less and less,
    and its usual time from `warm_s` after that request.

    `stall`: be silent for `stall_s`, then go on as usual. `place` says what was sent before the silence:

        connection   nothing at all, not even the status
        headers      the status and the headers
        opening      also what precedes the first token: a chunk with the role alone, or the start of the response
        comments     as `headers`; comments keep coming, or blank lines if the answer is not streamed
        token        as `opening`, but the request holds its slot: the first token is late
        middle       `after_chunks` pieces of a stream, or half the body of a whole answer

    `share` of the requests meet the fault, drawn from `seed`. The others meet the next fault of a mix, or none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: FaultKind = "ok"
    status: Annotated[int, Field(ge=400, le=599)] = 503
    message: str | None = None
    retry_after_s: Annotated[int, Field(ge=0)] | None = 1  # None: the 429 has no Retry-After
    after_chunks: Annotated[int, Field(ge=0)] = 3
    factor: NonNegative = 5.0
    warm_s: Annotated[float, Field(gt=0)] = 10.0
    place: StallPlace = "headers"
    stall_s: NonNegative | None = 5.0  # None: until `for_s` is over (a frozen server), or for ever
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int = 0
    times: Positive | None = None
    for_s: NonNegative | None = None
    drop_keepalive_every: Positive | None = (
        None  # drop every n-th request on a reused connection, as llama.cpp's server does
    )

    def is_stall(self, *places: StallPlace) -> bool:
        """Whether the fault is a stall in one of these places."""
        return self.fault == "stall" and self.place in places

    async def silence(self) -> None:
        """Return when the stall is over."""
        await asyncio.sleep(3e7 if self.stall_s is None else self.stall_s)

    async def comments(self, comment: bytes) -> AsyncIterator[bytes]:
        """Yield `comment` again and again until the stall is over."""
        left_s = 3e7 if self.stall_s is None else self.stall_s
        while left_s > 0:
            yield comment
            await asyncio.sleep(min(COMMENT_EVERY_S, left_s))
            left_s -= COMMENT_EVERY_S


OK = Fault()


class FaultSwitch:
    """The faults in force, and what is left of them. `clock` tells seconds."""

    def __init__(self, fault: Fault, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.set(fault)

    def set(self, *faults: Fault) -> None:
        """Fail like this from the next request on. Each of several faults hits its own share of the requests."""
        self.faults = faults
        self._left = [one.times for one in faults]
        self._rng = random.Random(f"{[one.seed for one in faults]}")
        self._set_s = self._clock()
        self._first_s: float | None = None  # when the first request came
        self._reused = 0

    @property
    def fault(self) -> Fault:
        """The first fault that is still in force."""
        return next((one for i, one in enumerate(self.faults) if self._is_in_force(i)), OK)

    def _is_in_force(self, at: int) -> bool:
        for_s = self.faults[at].for_s
        return self._left[at] != 0 and (for_s is None or self._clock() < self._set_s + for_s)

    def take(self, *, reused: bool) -> Fault:
        """The fault of the request at hand; `reused` says whether its connection carried one before."""
        every = self.faults[0].drop_keepalive_every
        if reused and every is not None:
            self._reused += 1
            if self._reused % every == 0:
                return Fault(fault="drop")
        place = self._rng.random()
        for i, fault in enumerate(self.faults):
            if place < fault.share and self._is_in_force(i):
                self._left[i] = None if (left := self._left[i]) is None else left - 1
                return self._now(fault)
            place -= fault.share
        return OK

    def _now(self, fault: Fault) -> Fault:
        """The fault as it is now: a frozen server's remaining time, or a starting server's remaining slowness."""
        now_s = self._clock()
        if fault.fault == "stall" and fault.stall_s is None and fault.for_s is not None:
            return fault.model_copy(update={"stall_s": self._set_s + fault.for_s - now_s})
        if fault.fault != "warming":
            return fault
        self._first_s = now_s if self._first_s is None else self._first_s
        cold = 1 - (now_s - self._first_s) / fault.warm_s
        return Fault(fault="slow", factor=1 + (fault.factor - 1) * cold) if cold > 0 else OK
