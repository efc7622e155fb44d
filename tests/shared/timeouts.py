"""A test that hangs fails by its name, with the places where it hangs, and the rest of the run goes on.

pytest-timeout interrupts it once, by an exception from a signal's handler. Here is what that leaves to do:

- coroutines: the interrupted thread stands in the event loop, so where they wait is printed;
- uvloop, on which `slo-bench` runs, logs such an exception and goes on, unless it is KeyboardInterrupt;
- what hangs on, such as a `with` block that waits for the process that hung, is interrupted again;
- a teardown after a failure, where pytest-timeout looks no more, is bounded too.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Generator
from contextlib import suppress
from types import FrameType

import pytest
import pytest_timeout

AGAIN_S = 30.0  # between two interruptions of a test whose time is up
SLOW_TIMEOUT_S = 1_800  # of a test that is marked `slow`; the others' is in pyproject.toml
_SETTINGS = pytest.StashKey[pytest_timeout.Settings]()
_IS_UP = pytest.StashKey[bool]()


def give_slow_ones_time(items: list[pytest.Item]) -> None:
    """Those that say no time of their own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> Generator[None, object, object]:
    """Puts a handler before pytest-timeout's own."""
    is_set = yield
    item.stash[_SETTINGS] = settings
    fail = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(fail):

        def show_and_interrupt(number: int, frame: FrameType | None) -> None:
            with suppress(RuntimeError):  # no loop runs
                for task in asyncio.all_tasks():
                    task.print_stack(file=sys.__stderr__)  # a command under test has its own
                if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
                    item.stash[_IS_UP] = True
                    raise KeyboardInterrupt
            fail(number, frame)

        signal.signal(signal.SIGALRM, show_and_interrupt)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_S)
    return is_set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Takes our own KeyboardInterrupt for what it is, and no other."""
    try:
        result = yield
    except KeyboardInterrupt:
        if not item.stash.get(_IS_UP, False):
            raise
        result = None
    if item.stash.get(_IS_UP, False):
        pytest.fail(f"Timeout (>{item.stash[_SETTINGS].timeout}s): see where it stood in what it printed")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Begins the time anew."""
    if _SETTINGS in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_SETTINGS])
    return (yield)
