"""Runs a coroutine beside a block, and ends it with the block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

AGAIN_S = 1.0


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Cancels the work at the end of the block, and once more each second: a library may swallow a cancellation.

    An exception of the work is ignored.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN_S)
        if not task.cancelled():
            task.exception()
