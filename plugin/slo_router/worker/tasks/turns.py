"""Lets everything else on the event loop have its turn while something long is worked out in steps.

    for a second's work of many small steps:  a slice of steps → everybody else → a slice of steps → …

A thread would not do: Python gives a thread that computes 5 ms before another may go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

SLICE_S = 0.0005

Result = TypeVar("Result")
Steps = Generator[None, None, None]


async def give_way() -> None:
    """Everybody else who is ready goes first."""
    await asyncio.sleep(0)


async def in_turns(work: Generator[None, None, Result]) -> Result:
    """Does all of it, a slice at a time, and returns what it returns. No step may take long by itself."""
    until_s = time.perf_counter() + SLICE_S
    while True:
        try:
            next(work)
        except StopIteration as over:
            result: Result = over.value
            return result
        if time.perf_counter() > until_s:
            await give_way()
            until_s = time.perf_counter() + SLICE_S


def at_once(work: Generator[None, None, Result]) -> Result:
    """Does all of it without a pause, and returns what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as over:
            result: Result = over.value
            return result
