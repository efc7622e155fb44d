"""Ends what a task waits on with a timeout error, which the task's code can handle.

LiteLLM's attempt runs in a task. Deep inside it a read waits for the deployment's next bytes. A task can be cancelled,
but that ends the whole request. The future that the read waits on is the task's `_fut_waiter`. This is the only
undocumented name of Python that the plugin uses, see `seams`. Without it no attempt is interrupted.
"""

from __future__ import annotations

import asyncio
from typing import Any

MOST_DEEP = 8  # tasks that wait for one another


def waits_on(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """What a task waits on, if it can be ended: a read, a connection. `None` if the task runs, or waits otherwise."""
    for _ in range(MOST_DEEP):
        waiting = getattr(task, "_fut_waiter", None)
        if isinstance(waiting, asyncio.Task):
            task = waiting
            continue
        is_plain = type(waiting) is asyncio.Future and not waiting.done()  # a group of futures is no read
        return waiting if is_plain else None
    return None


def interrupt(waiting: asyncio.Future[Any]) -> None:
    """Raises a timeout in the task that waits on this future."""
    waiting.set_exception(TimeoutError("no content by the deadline"))
