"""A test that hangs fails under its own name, shows where it hangs, and the rest of the run goes on.

pytest-timeout interrupts a test once, by an exception from a signal's handler. This module does the rest:

- coroutines: the interrupted thread is in the event loop, so this prints where the coroutines wait;
- uvloop, on which `slo-bench` runs, logs an exception and goes on, except for KeyboardInterrupt, which is used there;
- a test that still hangs, such as in a `with` block that waits for the process that hung, is interrupted again;
- a teardown after a failure gets a time limit too, because pytest-timeout does not watch it.
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
SLOW_TIMEOUT_S = 1_800  # of tests marked `slow`; that of other tests is in pyproject.toml
_SETTINGS = pytest.StashKey[pytest_timeout.Settings]()
_IS_UP = pytest.StashKey[bool]()


def give_slow_ones_time(items: list[pytest.Item]) -> None:
    """Gives slow tests SLOW_TIMEOUT_S, unless they have their own time limit."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> Generator[None, object, object]:
    """Runs our handler before pytest-timeout's own."""
    is_set = yield
    item.stash[_SETTINGS] = settings
    fail = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(fail):

        def show_and_interrupt(number: int, frame: FrameType | None) -> None:
            with suppress(RuntimeError):  # no event loop runs
                for task in asyncio.all_tasks():
                    task.print_stack(file=sys.__stderr__)  # a command under test replaces sys.stderr
                if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
                    item.stash[_IS_UP] = True
                    raise KeyboardInterrupt
            fail(number, frame)

        signal.signal(signal.SIGALRM, show_and_interrupt)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, AGAIN_S)
    return is_set


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Turns our own KeyboardInterrupt into a failure of the test, and no other."""
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
    """Gives the teardown its own time."""
    if _SETTINGS in item.stash:
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_SETTINGS])
    return (yield)
