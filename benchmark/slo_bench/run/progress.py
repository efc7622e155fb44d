"""Tells how a run goes: a bar on a terminal, elsewhere a line every half minute, as logs want it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

LINE_S = 30.0
REDRAW_S = 1.0


class State(NamedTuple):
    """How far a run is. `spent_usd` is `None` where no price is known."""

    what: str  # deployment and category
    answered: int
    requests: int
    left_s: float
    spent_usd: float | None


@asynccontextmanager
async def shown(console: Console, state: Callable[[], State], line_s: float = LINE_S) -> AsyncIterator[None]:
    """Shows `state` while the block runs. What else is printed to `console` meanwhile stands above the bar."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[left]}"), console=console) as progress:
            task = progress.add_task("", left="")
            async with _running(_redraw(progress, task, state)):
                yield
            _update(progress, task, state())
    else:
        async with _running(_write(console, state, line_s)):
            yield


def line(state: State, elapsed_s: float) -> str:
    """One line for a log."""
    spent = "" if state.spent_usd is None else f", {state.spent_usd:.4f} USD spent"
    return (
        f"{state.answered} of {state.requests} requests, {minutes(elapsed_s)} gone, about {minutes(state.left_s)} "
        f"left{spent}: {state.what}"
    )


def minutes(seconds: float) -> str:
    """A duration as people say it."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole / 60:.0f} min"


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _redraw(progress: Progress, task: TaskID, state: Callable[[], State]) -> None:
    while True:
        _update(progress, task, state())
        await asyncio.sleep(REDRAW_S)


def _update(progress: Progress, task: TaskID, now: State) -> None:
    left = f"{minutes(now.left_s)} left"
    progress.update(task, description=now.what, completed=now.answered, total=now.requests, left=left)


async def _write(console: Console, state: Callable[[], State], line_s: float) -> None:
    began_s = monotonic()
    while True:
        await asyncio.sleep(line_s)
        console.print(line(state(), monotonic() - began_s))
