"""Lets all other tasks on the event loop have their turn while long work is done in steps.

    a second's work of many small steps:  a slice of steps → all other tasks → a slice of steps → …

A thread would be no help: Python lets a thread compute for 5 ms before another may go on.
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
    """Lets all other tasks that are ready run first."""
    await asyncio.sleep(0)


async def in_turns(work: Generator[None, None, Result]) -> Result:
    """Does all of `work`, a slice at a time, and returns its result. No single step may take long."""
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
    """Does all of `work` without a pause, and returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as over:
            result: Result = over.value
            return result
