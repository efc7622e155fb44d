"""Runs the agent's coroutines so that it is fast and seldom stands still: what it measures must not be itself.

uvloop where there is one: a fifth less CPU for each request. The garbage collector is kept off all that was loaded
until now, for looking through it takes tens of milliseconds.

Ctrl-C and SIGTERM leave the loop, whose end cancels everything, so that locks are released.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # not made for this platform
    from asyncio import new_event_loop

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`. Raises KeyboardInterrupt on SIGINT and SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(main)
    finally:
        gc.unfreeze()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
