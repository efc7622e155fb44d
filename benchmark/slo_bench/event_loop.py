"""Runs the agent's coroutines so that it is fast and seldom stands still: what it measures must not be itself.

uvloop where there is one: a fifth less CPU for each request. The garbage collector is kept off all that was loaded
until now, for looking through it takes tens of milliseconds in which nothing is sent or stamped.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # not made for this platform
    from asyncio import new_event_loop

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`."""
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(main)
    finally:
        gc.unfreeze()
