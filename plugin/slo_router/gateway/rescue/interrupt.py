"""Ends what a task waits on as a timeout of it would, so that its code goes on with an error that it knows.

LiteLLM's attempt runs in a task, deep below which a read waits for the deployment's next bytes. A task can be
cancelled, but a cancellation ends the whole request. The future that the read waits on is the task's `_fut_waiter`: the
one name that is used of Python and not documented, see `seams`. Where there is none, nobody is interrupted.
"""

from __future__ import annotations

import asyncio
from typing import Any

MOST_DEEP = 8  # tasks that wait for one another


def waits_on(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """What a task waits on that can be ended: a read, a connection; `None` where it runs, or waits otherwise."""
    for _ in range(MOST_DEEP):
        waiting = getattr(task, "_fut_waiter", None)
        if isinstance(waiting, asyncio.Task):
            task = waiting
            continue
        is_plain = type(waiting) is asyncio.Future and not waiting.done()  # a group of futures is no read
        return waiting if is_plain else None
    return None


def interrupt(waiting: asyncio.Future[Any]) -> None:
    """Whoever waits on it has a timeout."""
    waiting.set_exception(TimeoutError("no content by the deadline"))
